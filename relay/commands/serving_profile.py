"""The options of `relay proxy`, and how they go over what a profile says."""

import argparse
import re
from dataclasses import replace
from pathlib import Path

from relay.access_ports import parse_ports
from relay.commands.admin_option import add_admin_option, admin_endpoint
from relay.commands.listener_options import add_listener_options, listeners_of
from relay.commands.options import Parser, add_listen_option, count, file_name, listen_of, seconds
from relay.commands.proxy_faults import add_fault_options, rules_of
from relay.commands.proxy_persona import add_persona_option, persona_of
from relay.failure import SettingsError
from relay.log_format import FORMATS
from relay.profile import DEFAULT_LISTEN, AccessLog, Listen, Profile, read_profile
from relay.route import Hop
from relay.upstream import Upstream
from relay.workers import MAX_WORKERS

# RFC 9110 section 7.6.3: received-by is a host or a pseudonym, which is a token
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z")


def profile_of(options: argparse.Namespace) -> Profile:
    """The profile of --config, with the other options in place of what it says. Raises: SettingsError."""
    profile = read_profile(Path(options.config)) if options.config is not None else Profile()
    access = profile.access
    if options.allow_port:
        access = replace(access, allow_ports=parse_ports(options.allow_port))
    if options.allow_local:
        access = replace(access, allow_local=True)
    limits = replace(
        profile.limits,
        connect_timeout_seconds=options.connect_timeout or profile.limits.connect_timeout_seconds,
        head_timeout_seconds=options.head_timeout or profile.limits.head_timeout_seconds,
    )
    log = AccessLog(options.access_log or profile.log.file, options.log_format or profile.log.format)
    return replace(
        profile, listen=_listen(options, profile.listen), access=access, limits=limits, log=log,
        listeners=(*profile.listeners, *listeners_of(options)),
        upstreams=(*profile.upstreams, *_upstreams(options)),
        faults=(*profile.faults, *rules_of(options)), persona=persona_of(options) or profile.persona,
    )  # fmt: skip


def _listen(options: argparse.Namespace, listen: Listen) -> Listen:
    via = options.via if options.via is not None else listen.via
    if via is not None and not _TOKEN.match(via):
        what = "--via" if options.via is not None else f"{options.config}: [listen]: via"
        raise SettingsError(f"{what}: {via[:80]!r}; expected a token of RFC 9110 section 5.6.2")
    admin = admin_endpoint(options.admin) if options.admin is not None else listen.admin
    grace_seconds = listen.grace_seconds if options.grace is None else options.grace
    on = listen.on
    if options.listen:
        # Behind a load balancer they are no plain ones (relay.commands.listener_options)
        on = () if options.accept_proxy_protocol else listen_of(options.listen, None)
    return Listen(on, via, admin, grace_seconds, listen.pac or options.pac)


def listen_source(options: argparse.Namespace) -> str:
    """The options that say where to listen, or the file, for an error about it."""
    given = [name for name in ("--listen", "--tls-listen", "--unix-listen") if _value(options, name)]
    return " or ".join(given) or options.config or "--listen"


def _value(options: argparse.Namespace, option: str) -> object:
    return getattr(options, option.strip("-").replace("-", "_"))


def admin_source(options: argparse.Namespace) -> str:
    """The same of the admin listener."""
    is_file = options.config is not None and options.admin is None
    return f"{options.config}: [listen]: admin" if is_file else "--admin"


def _upstreams(options: argparse.Namespace) -> tuple[Upstream, ...]:
    hops = tuple(Hop.parse(url, "--upstream") for url in options.upstream)
    return (Upstream(hops),) if hops else ()


def grace(text: str) -> float:
    """Seconds, 0 for none. Raises: argparse.ArgumentTypeError."""
    return 0.0 if text.strip("0") in ("", ".") and text else seconds(text)


def worker_count(text: str) -> int:
    """How many workers. Raises: argparse.ArgumentTypeError."""
    workers = count(text)
    if workers > MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from 1 to {MAX_WORKERS}")
    return workers


def proxy_parser(program: str) -> Parser:
    """The parser of the whole command line."""
    parser = Parser(
        program,
        description="An HTTP proxy: CONNECT tunnels, and requests for http:// URIs.",
        epilog=f"`{program} passwd FILE USER` writes a user's password for logins; "
        f"`{program} personas` lists whom it can stand in for.",
    )
    parser.add_argument(
        "--config", metavar="FILE.toml",
        help="a profile: rules, logins, limits, log (docs/proxy.md); SIGHUP reads it again",
    )  # fmt: skip
    add_listen_option(parser, str(DEFAULT_LISTEN[0]))
    _add_policy(parser)
    parser.add_argument(
        "--workers", type=worker_count, default=1, metavar="N",
        help="processes that share the listeners, for more than one core (default 1)",
    )  # fmt: skip
    parser.add_argument("--via", metavar="NAME", help="name in Via fields (default: a random one)")
    parser.add_argument(
        "--access-log", type=file_name, metavar="FILE",
        help="append one line per tunnel or request; - is stdout",
    )  # fmt: skip
    parser.add_argument("--log-format", choices=tuple(FORMATS), help="of the access log (default json)")
    add_admin_option(parser, "tunnels")
    parser.add_argument(
        "--grace", type=grace, metavar="SECONDS",
        help="how long SIGTERM lets open tunnels go on (default 0); a second one, or SIGINT, ends them",
    )  # fmt: skip
    parser.add_argument(
        "--probe", metavar="HOST:PORT", help="do not serve; exit 0 if such a proxy answers there"
    )
    _add_ways(parser)
    add_listener_options(parser)
    add_persona_option(parser)
    add_fault_options(parser)
    return parser


def _add_ways(parser: Parser) -> None:
    parser.add_argument(
        "--upstream", action="append", default=[], metavar="URL",
        help="a parent proxy for all targets: http://, https://, socks5h://, socks5://, socks4a://, "
        "socks4://; repeat for a chain, nearest first ([[upstream]] of a profile chooses by target)",
    )  # fmt: skip
    parser.add_argument(
        "--pac", action="store_true",
        help="serve /proxy.pac and /wpad.dat, made from the policy, to who asks the proxy itself",
    )  # fmt: skip


def _add_policy(parser: Parser) -> None:
    parser.add_argument(
        "--allow-port", action="append", default=[], metavar="PORT[-PORT]",
        help="refuse every other target port with 403; repeat or separate by commas (default: all allowed)",
    )  # fmt: skip
    parser.add_argument(
        "--allow-local", action="store_true",
        help="let a proxy that listens beyond loopback reach targets on its own machine and link",
    )  # fmt: skip
    parser.add_argument(
        "--connect-timeout", type=seconds, metavar="SECONDS",
        help="for name lookup and TCP connect to a target, then 504 (default 10)",
    )  # fmt: skip
    parser.add_argument(
        "--head-timeout", type=seconds, metavar="SECONDS",
        help="cut off a client that has not sent a whole request head (default 30)",
    )  # fmt: skip
