"""git through our proxy, over each of its transports: every object arrives whole."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.path import peers
from tests.path.conftest import Origin, OurProxy
from tests.path.origin import some_bytes
from tests.path.real import SCRIPTS, Tool, run


@dataclass
class Git:
    """git as a user with no settings, and a repository with a few megabytes in `origin/project.git`."""

    program: str
    place: Path
    head: str = ""

    async def __call__(self, *arguments: str | Path) -> str:
        settings = ("user.name=Tester", "user.email=tester@example.org", "commit.gpgsign=false")
        options = [option for setting in settings for option in ("-c", setting)]
        ran = await run(
            self.program, *options, *arguments, cwd=self.place,
            HOME=str(self.place), GIT_CONFIG_NOSYSTEM="1", GIT_TERMINAL_PROMPT="0",
        )  # fmt: skip
        assert 0 == ran.status, ran.stderr
        return ran.text.strip()

    async def commit(self, folder: Path, name: str, data: bytes) -> str:
        (folder / name).write_bytes(data)
        await self("-C", folder, "add", name)
        await self("-C", folder, "commit", "-q", "-m", f"Add {name}")
        return await self("-C", folder, "rev-parse", "HEAD")

    async def assert_whole(self, folder: Path) -> None:
        """The clone has the commit, and every object of it is whole."""
        assert self.head == await self("-C", folder, "rev-parse", "HEAD")
        await self("-C", folder, "fsck", "--strict")


@pytest.fixture
async def git(tool: Tool, tmp_path: Path, origin: Origin) -> Git:
    place = tmp_path / "git"
    place.mkdir()
    git = Git(tool("git", "git"), place)
    await git("init", "-q", "-b", "main", place / "work")
    git.head = await git.commit(place / "work", "data", some_bytes(1_000_000))
    await git("clone", "-q", "--bare", place / "work", origin.folder / "project.git")
    await git("-C", origin.folder / "project.git", "config", "http.receivepack", "true")
    return git


async def test_git_over_http(git: Git, our_proxy: OurProxy, origin: Origin) -> None:
    """Clone and push by absolute-form requests; the push is larger than git's buffer, so it is in chunks."""
    url = f"{origin.url}/git/project.git"
    through = ("-c", f"http.proxy={our_proxy.url}")
    await git(*through, "clone", "-q", url, "copy")
    await git.assert_whole(git.place / "copy")
    await our_proxy.entry(method="GET", target=f"{url}/info/refs?service=git-upload-pack", status=200)
    while True:
        entry = await our_proxy.entry(method="POST", target=f"{url}/git-upload-pack", status=200)
        if entry["bytes_down"] > 1_000_000:
            break
    our_proxy.assert_that_was_all()
    git.head = await git.commit(git.place / "copy", "more", some_bytes(1_200_000))
    await git(*through, "-C", "copy", "push", "-q", "origin", "main")
    await git.assert_whole(origin.folder / "project.git")
    await our_proxy.entry(method="GET", target=f"{url}/info/refs?service=git-receive-pack", status=200)
    while True:
        entry = await our_proxy.entry(method="POST", target=f"{url}/git-receive-pack", status=200)
        if entry["bytes_up"] > 1_200_000:
            break
    our_proxy.assert_that_was_all()


async def test_git_over_https(git: Git, our_proxy: OurProxy, origin: Origin) -> None:
    """http.proxy with an https URL: one CONNECT."""
    through = ("-c", f"http.proxy={our_proxy.url}", "-c", f"http.sslCAInfo={origin.authority_file}")
    await git(*through, "clone", "-q", f"{origin.tls_url}/git/project.git", "copy")
    await git.assert_whole(git.place / "copy")
    entry = await our_proxy.tunnel(origin.tls_target)
    assert entry["bytes_down"] > 1_000_000
    our_proxy.assert_that_was_all()


@pytest.mark.parametrize("program", ["ncat", "relay"])
async def test_git_protocol(tool: Tool, git: Git, our_proxy: OurProxy, origin: Origin, program: str) -> None:
    """git:// has no idea of proxies; core.gitproxy is a program that gets host and port."""
    commands = {
        "ncat": f"{tool('ncat', 'ncat')} --proxy-type http --proxy {our_proxy.address} $1 $2",
        "relay": f"{SCRIPTS / 'relay'} tunnel --stdio -x {our_proxy.url} $1:$2",
    }
    script = git.place / "through"
    script.write_text(f"#!/bin/sh\nexec {commands[program]}\n")
    script.chmod(0o755)
    with peers.git_daemon(tool, origin.folder) as daemon:
        url = f"git://{daemon.endpoint}/project.git"
        await git("-c", f"core.gitproxy={script}", "clone", "-q", url, "copy")
    await git.assert_whole(git.place / "copy")
    entry = await our_proxy.tunnel(daemon.endpoint)
    assert entry["bytes_down"] > 1_000_000
