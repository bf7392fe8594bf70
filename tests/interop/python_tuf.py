#!/usr/bin/env python3
"""Writes TUF repositories that sign container images, with the reference implementation python-tuf.

    python_tuf.py create DIR IMAGE=MANIFEST... [options]   a new repository, DIR/1.root.json beside it
    python_tuf.py publish DIR IMAGE=MANIFEST...            the images' next versions
    python_tuf.py rotate DIR                               a new root, with a new root key and a new timestamp key
    python_tuf.py fetch DIR TARGET                         what python-tuf's own client gets, on stdout

DIR gets `metadata/`, `targets/` and `keys/`; only the first two are the repository. DIR/1.root.json is the root to pin. The
target of an image is HOST/REPO/TAG/manifest.json. Needs the packages in requirements.txt, and no network.
"""

import argparse
import re
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.ngclient import FetcherInterface, Updater

LAYOUTS = ("flat", "delegated", "nested", "hash-bins", "succinct")
KEY_TYPES = ("ed25519", "ecdsa", "rsa", "mixed")
# One root key alone must not be able to replace the root.
ROOT_KEYS = ("root-a", "root-b")


def image_folder(image: str) -> str:
    """The folder that holds an image's targets, from its name as Docker reads it: alpine is docker.io/library/alpine:latest."""
    host, slash, rest = image.partition("/")
    if not slash or not (set(".:") & set(host) or host == "localhost" or host != host.lower()):
        host, rest = "docker.io", image
    repository, _, tag = rest.partition(":")
    if host == "docker.io" and "/" not in repository:
        repository = f"library/{repository}"
    return f"{host}/{repository}/{tag or 'latest'}"


class Keys:
    """Private keys as PEM files, one for each name, made when first asked for."""

    def __init__(self, folder: Path, key_type: str = "ed25519"):
        self.folder = folder
        self.key_type = key_type

    def _path(self, name: str) -> Path:
        return self.folder / f"{quote(name, safe='')}.pem"

    def _generate(self, name: str) -> CryptoSigner:
        kind = self.key_type
        if kind == "mixed":
            kind = "rsa" if name in ROOT_KEYS else "ecdsa" if name == "targets" else "ed25519"
        if kind == "rsa":
            return CryptoSigner.generate_rsa()
        return CryptoSigner.generate_ecdsa() if kind == "ecdsa" else CryptoSigner.generate_ed25519()

    def signer(self, name: str) -> CryptoSigner:
        path = self._path(name)
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._generate(name).private_bytes)
        private = load_pem_private_key(path.read_bytes(), password=None)
        return CryptoSigner(private, SSlibKey.from_crypto(private.public_key()))

    def replace(self, name: str) -> CryptoSigner:
        """The signer of a new key under an old key's name, of the old key's type."""
        kind = self.signer(name).public_key.keytype
        self._path(name).unlink()
        self.key_type = "ecdsa" if kind.startswith("ecdsa") else kind
        return self.signer(name)


class Repository:
    """A repository on disk. Every role is read when it is changed and written with the next version number."""

    def __init__(self, folder: Path, keys: Keys):
        self.folder = folder
        self.keys = keys

    @property
    def metadata(self) -> Path:
        return self.folder / "metadata"

    def role(self, name: str) -> Metadata:
        """The newest version of a role, whatever its file is called."""
        file = re.compile(rf"(\d+\.)?{re.escape(quote(name, safe=''))}\.json")
        files = (p for p in self.metadata.iterdir() if file.fullmatch(p.name))
        return max((Metadata.from_file(str(p)) for p in files), key=lambda m: m.signed.version)

    def write(self, name: str, role: Metadata, signers: list[CryptoSigner], consistent: bool) -> None:
        role.signatures.clear()
        for signer in signers:
            role.sign(signer, append=True)
        versioned = name == "root" or (consistent and name != "timestamp")
        prefix = f"{role.signed.version}." if versioned else ""
        self.metadata.mkdir(parents=True, exist_ok=True)
        role.to_file(str(self.metadata / f"{prefix}{quote(name, safe='')}.json"))

    def write_target(self, target: TargetFile, data: bytes, consistent: bool) -> None:
        # Consistent snapshots prefix the file's name with its digest, not the folder's.
        paths = target.get_prefixed_paths() if consistent else [target.path]
        for path in paths:
            file = self.folder / "targets" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)


def delegated_role(name: str, key: SSlibKey, **which: list[str]) -> DelegatedRole:
    return DelegatedRole(name, [key.keyid], 1, False, **which)


def hash_prefixes(bins: int) -> dict[str, list[str]]:
    """Names of `bins` hash bins (a power of two), each with the prefixes of the path digests that fall into it."""
    digits = 1
    while 16**digits < bins:
        digits += 1
    each = 16**digits // bins
    prefixes = [f"{n:0{digits}x}" for n in range(16**digits)]
    return {f"bin-{low[0]}-{low[-1]}": low for low in (prefixes[i : i + each] for i in range(0, 16**digits, each))}


def delegate(layout: str, keys: Keys, folders: list[str], bins: int, new_targets) -> dict[str, Metadata[Targets]]:
    """The targets roles of a layout, by name, delegating to one another but without any target yet."""
    roles = {"targets": new_targets()}

    def add(parent: str, name: str, **which: list[str]) -> None:
        signed = roles[parent].signed
        if signed.delegations is None:
            signed.delegations = Delegations({}, roles={})
        if name not in signed.delegations.roles:
            key = keys.signer(name).public_key
            signed.delegations.roles[name] = delegated_role(name, key, **which)
            signed.delegations.keys[key.keyid] = key
            roles.setdefault(name, new_targets())

    for folder in folders:
        # A wildcard never crosses `/`, so a pattern has as many parts as the target path.
        parts = folder.split("/")
        depths = {"delegated": [len(parts) - 2], "nested": range(1, len(parts))}.get(layout, [])
        parent = "targets"
        for depth in depths:
            # The role's name has slashes in it, which the file's name must not have.
            name = "/".join(parts[:depth])
            add(parent, name, paths=["/".join(parts[:depth] + ["*"] * (len(parts) + 1 - depth))])
            parent = name
    if layout == "hash-bins":
        for name, prefixes in hash_prefixes(bins).items():
            add("targets", name, path_hash_prefixes=prefixes)
    if layout == "succinct":
        key = keys.signer("bin").public_key
        succinct = SuccinctRoles([key.keyid], 1, (bins - 1).bit_length(), "bin")
        roles["targets"].signed.delegations = Delegations({key.keyid: key}, succinct_roles=succinct)
        roles.update({name: new_targets() for name in succinct.get_roles()})
    return roles


def responsible(roles: dict[str, Metadata[Targets]], path: str) -> str:
    """The role at the end of the delegations that cover a path."""
    name = "targets"
    while roles[name].signed.delegations:
        following = next(roles[name].signed.delegations.get_roles_for_target(path), None)
        if following is None:
            break
        name = following[0]
    return name


def signer_name(roles: dict[str, Metadata[Targets]], name: str) -> str:
    """Succinct bins share one key; every other role has its own."""
    delegations = roles["targets"].signed.delegations
    succinct = delegations is not None and delegations.succinct_roles is not None
    return "bin" if succinct and name != "targets" else name


def parse_targets(arguments: list[str]) -> dict[str, bytes]:
    """IMAGE=MANIFEST, or a whole target path with its slashes and a file name: PATH.json=FILE."""
    targets = {}
    for argument in arguments:
        name, equals, file = argument.rpartition("=")
        if not equals:
            raise SystemExit(f"python_tuf.py: {argument}: IMAGE=MANIFEST is wanted")
        path = name if name.endswith((".json", ".profile", ".cil")) else f"{image_folder(name)}/manifest.json"
        targets[path] = Path(file).read_bytes()
    return targets


def write_all(repository: Repository, roles, changed: set[str], targets: dict[str, bytes], expires: dict, first: bool) -> None:
    """Puts the targets into the roles that are responsible for them, and signs those, the snapshot and the timestamp."""
    root = repository.role("root")
    consistent = root.signed.consistent_snapshot
    for path, data in targets.items():
        name = responsible(roles, path)
        target = TargetFile.from_data(path, data)
        roles[name].signed.targets[path] = target
        repository.write_target(target, data, consistent)
        changed.add(name)

    snapshot = Metadata(Snapshot()) if first else repository.role("snapshot")
    timestamp = Metadata(Timestamp()) if first else repository.role("timestamp")
    for name in sorted(changed):
        if not first:
            roles[name].signed.version += 1
        roles[name].signed.expires = expires["targets"]
        repository.write(name, roles[name], [repository.keys.signer(signer_name(roles, name))], consistent)
        snapshot.signed.meta[f"{name}.json"] = MetaFile(roles[name].signed.version)
    if not first:
        snapshot.signed.version += 1
        timestamp.signed.version += 1
    snapshot.signed.expires = expires["snapshot"]
    repository.write("snapshot", snapshot, [repository.keys.signer("snapshot")], consistent)
    written = snapshot.to_bytes()
    timestamp.signed.snapshot_meta = MetaFile.from_data(snapshot.signed.version, written, ["sha256"])
    timestamp.signed.expires = expires["timestamp"]
    repository.write("timestamp", timestamp, [repository.keys.signer("timestamp")], consistent)


def expiries(arguments: argparse.Namespace) -> dict[str, datetime]:
    default = datetime.now(UTC).replace(microsecond=0) + timedelta(days=arguments.days)
    return {role: getattr(arguments, f"{role}_expires") or default for role in ("root", "targets", "snapshot", "timestamp")}


def create(arguments: argparse.Namespace) -> None:
    folder = arguments.dir
    if (folder / "metadata").exists():
        raise SystemExit(f"python_tuf.py: {folder}: there is a repository already")
    repository = Repository(folder, Keys(folder / "keys", arguments.keys))
    expires = expiries(arguments)

    root = Metadata(Root(expires=expires["root"], consistent_snapshot=arguments.consistent))
    for role in ("timestamp", "snapshot", "targets"):
        root.signed.add_key(repository.keys.signer(role).public_key, role)
    for name in ROOT_KEYS:
        root.signed.add_key(repository.keys.signer(name).public_key, "root")
    root.signed.roles["root"].threshold = len(ROOT_KEYS)
    repository.write("root", root, [repository.keys.signer(name) for name in ROOT_KEYS], arguments.consistent)
    (folder / "1.root.json").write_bytes((repository.metadata / "1.root.json").read_bytes())

    targets = parse_targets(arguments.targets)
    folders = [path.rpartition("/")[0] for path in targets]
    roles = delegate(arguments.layout, repository.keys, folders, arguments.bins, lambda: Metadata(Targets()))
    write_all(repository, roles, set(roles), targets, expires, first=True)


def publish(arguments: argparse.Namespace) -> None:
    repository = Repository(arguments.dir, Keys(arguments.dir / "keys"))
    names = [name.removesuffix(".json") for name in repository.role("snapshot").signed.meta]
    roles = {name: repository.role(name) for name in names}
    write_all(repository, roles, set(), parse_targets(arguments.targets), expiries(arguments), first=False)


def rotate(arguments: argparse.Namespace) -> None:
    repository = Repository(arguments.dir, Keys(arguments.dir / "keys"))
    root = repository.role("root")
    old = [repository.keys.signer(name) for name in ROOT_KEYS]
    for name, role in (("root-b", "root"), ("timestamp", "timestamp")):
        root.signed.revoke_key(repository.keys.signer(name).public_key.keyid, role)
        root.signed.add_key(repository.keys.replace(name).public_key, role)
    root.signed.version += 1
    root.signed.expires = expiries(arguments)["root"]
    # Signed by a threshold of the old keys, which lets clients follow, and by one of the new keys, which it states.
    signers = {s.public_key.keyid: s for s in [*old, *(repository.keys.signer(name) for name in ROOT_KEYS)]}
    repository.write("root", root, list(signers.values()), root.signed.consistent_snapshot)
    # The old timestamp has no valid signature any more.
    publish(arguments)


class FolderFetcher(FetcherInterface):
    """Reads a repository's files in place of downloading them."""

    def _fetch(self, url: str):
        # Not unquoted: a role `a/b` is the file `a%2Fb.json`.
        file = Path(url.removeprefix("file://"))
        if not file.is_file():
            raise DownloadHTTPError("no such file", 404)
        yield file.read_bytes()


def fetch(arguments: argparse.Namespace) -> None:
    base = f"file://{arguments.dir.resolve()}"
    root = (arguments.root or arguments.dir / "1.root.json").read_bytes()
    with tempfile.TemporaryDirectory() as trusted:
        updater = Updater(
            trusted, f"{base}/metadata/", trusted, f"{base}/targets/", fetcher=FolderFetcher(), bootstrap=root
        )
        target = updater.get_targetinfo(arguments.target)
        if target is None:
            raise SystemExit(f"python_tuf.py: {arguments.target}: not signed")
        sys.stdout.buffer.write(Path(updater.download_target(target, f"{trusted}/target")).read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    dates = argparse.ArgumentParser(add_help=False)
    dates.add_argument("--days", type=int, default=365, help="days until a role expires that has no date of its own (default: %(default)s)")
    for role in ("root", "targets", "snapshot", "timestamp"):
        dates.add_argument(f"--{role}-expires", type=datetime.fromisoformat, metavar="RFC3339")

    command = commands.add_parser("create", parents=[dates])
    command.add_argument("dir", type=Path)
    command.add_argument("targets", nargs="*", metavar="IMAGE=MANIFEST")
    command.add_argument("--no-consistent-snapshot", dest="consistent", action="store_false")
    command.add_argument("--keys", choices=KEY_TYPES, default="ed25519", help="default: %(default)s")
    command.add_argument("--layout", choices=LAYOUTS, default="flat", help="which roles sign the targets (default: %(default)s)")
    command.add_argument("--bins", type=int, default=16, help="number of hash bins or succinct roles (default: %(default)s)")
    command.set_defaults(run=create)

    command = commands.add_parser("publish", parents=[dates])
    command.add_argument("dir", type=Path)
    command.add_argument("targets", nargs="*", metavar="IMAGE=MANIFEST")
    command.set_defaults(run=publish)

    command = commands.add_parser("rotate", parents=[dates])
    command.add_argument("dir", type=Path)
    command.set_defaults(run=rotate, targets=[])

    command = commands.add_parser("fetch")
    command.add_argument("dir", type=Path)
    command.add_argument("target")
    command.add_argument("--root", type=Path, help="the pinned root (default: DIR/1.root.json)")
    command.set_defaults(run=fetch)

    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
