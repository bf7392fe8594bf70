"""Reads package lists with the libraries that their formats' own projects keep, and holds them to the schemas.

Usage: package_lists.py spdx|cyclonedx FILE...

For each file one line of JSON on stdout: `errors`, what is wrong with it; `packages`, each with the type, name, version, arch and epoch of its
package URL; `files`, the SHA-256 by path. Needs the packages in requirements.txt, and no network.
"""

import json
import sys

from packageurl import PackageURL


def package(url):
    return [url.type, url.name, url.version, url.qualifiers.get("arch"), url.qualifiers.get("epoch")]


def spdx(path):
    from spdx_tools.spdx.model import ChecksumAlgorithm
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    document = parse_file(path)
    urls = [ref.locator for entry in document.packages for ref in entry.external_references if ref.reference_type == "purl"]
    files = {
        entry.name: next((sum.value for sum in entry.checksums if sum.algorithm == ChecksumAlgorithm.SHA256), None)
        for entry in document.files
    }
    return {
        "errors": [message.validation_message for message in validate_full_spdx_document(document)],
        "packages": [package(PackageURL.from_string(url)) for url in urls],
        "files": files,
    }


def cyclonedx(path):
    from cyclonedx.model import HashAlgorithm
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import ComponentType
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    with open(path, encoding="utf-8") as file:
        text = file.read()
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    bom = Bom.from_json(json.loads(text))
    files = {
        entry.name: next((hash.content for hash in entry.hashes if hash.alg is HashAlgorithm.SHA_256), None)
        for entry in bom.components
        if entry.type is ComponentType.FILE
    }
    return {
        "errors": [] if error is None else [str(error)],
        "packages": [package(entry.purl) for entry in bom.components if entry.purl],
        "files": files,
    }


def main():
    read = {"spdx": spdx, "cyclonedx": cyclonedx}[sys.argv[1]]
    for path in sys.argv[2:]:
        print(json.dumps(read(path)))


main()
