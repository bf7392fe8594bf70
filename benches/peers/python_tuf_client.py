"""Fetches one target with python-tuf's client, as a program that uses it would.

    python_tuf_client.py ROOT METADATA_DIR METADATA_URL TARGETS_URL TARGET FILE

ROOT is the pinned root; METADATA_DIR is empty. The addresses end in a slash and begin with http:// or, for a folder of this machine,
file://. Bounds are raised where a repository here is larger than what python-tuf expects; nothing else differs from its defaults.
"""

import sys
from urllib.parse import unquote

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig


class FolderFetcher(FetcherInterface):
    """Reads files, in pieces as large as those that python-tuf's own fetcher asks a server for."""

    def _fetch(self, url):
        try:
            file = open(unquote(url.removeprefix("file://")), "rb")
        except FileNotFoundError:
            raise DownloadHTTPError(f"no {url}", 404) from None
        return self._pieces(file)

    def _pieces(self, file):
        with file:
            while piece := file.read(400_000):
                yield piece


def main():
    root, metadata_dir, metadata_url, targets_url, target, path = sys.argv[1:]
    with open(root, "rb") as file:
        bootstrap = file.read()
    limits = UpdaterConfig(max_root_rotations=1024, snapshot_max_length=1 << 30, targets_max_length=1 << 30)
    fetcher = FolderFetcher() if metadata_url.startswith("file://") else None
    updater = Updater(
        metadata_dir,
        metadata_url,
        target_base_url=targets_url,
        fetcher=fetcher,
        config=limits,
        bootstrap=bootstrap,
    )
    updater.refresh()
    info = updater.get_targetinfo(target)
    if info is None:
        sys.exit(f"{target} is not signed")
    updater.download_target(info, path)


main()
