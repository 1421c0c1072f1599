"""The child process in which a PAC file runs: python -m relay.pac_child URL HOST < FILE.

Its own process, so that a file that loops, eats memory or waits for names can be ended from outside.
"""

import resource
import sys

# The engine needs some 100 MB of address space; a file that wants more than this is broken.
MAX_MEMORY_BYTES = 1_073_741_824
MAX_CPU_SECONDS = 30
EXIT_GOOD, EXIT_BAD = 0, 1


def main(arguments: list[str]) -> int:
    """Print what FindProxyForURL(URL, HOST) answers; 1 with a line on stderr when it cannot be asked."""
    url, host = arguments
    try:
        from pypac.parser import MalformedPacError, PACFile
    except ImportError:
        print("pypac is not installed: pip install 'framework-relay[pac]'", file=sys.stderr)
        return EXIT_BAD
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    try:
        answer = PACFile(sys.stdin.read()).find_proxy_for_url(url, host)
    except MalformedPacError as error:
        print(f"it is no PAC file: {error}", file=sys.stderr)
    except Exception as error:  # noqa: BLE001 - the engine gives any error of the script as one of its own
        print(f"FindProxyForURL failed: {type(error).__name__}: {error}", file=sys.stderr)
    else:
        if isinstance(answer, str):
            print(answer)
            return EXIT_GOOD
        print("FindProxyForURL answered no text", file=sys.stderr)
    return EXIT_BAD


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
