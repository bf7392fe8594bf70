#!/usr/bin/env bash
# Makes the archives and manifests beside this file, with a real Docker daemon and skopeo:
#
#     .ci/with-docker test-repos/source/make.sh
#
# A new run gives other image ids, for the configs say when they were built. Whatever is signed around these files must then
# be signed anew.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name=registry.example/team/app:1.4
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
umask 022

# The image: a system that knows its name and its packages, a program with its settings, and a layer that replaces those.
mkdir -p "$context"/{system,app,site}/etc "$context/system/var/lib/dpkg" "$context/app/usr/bin"
cat >"$context/system/etc/os-release" <<'EOF'
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL="https://www.debian.org/"
SUPPORT_URL="https://www.debian.org/support"
BUG_REPORT_URL="https://bugs.debian.org/"
EOF
cat >"$context/system/var/lib/dpkg/status" <<'EOF'
Package: libc6
Status: install ok installed
Priority: optional
Section: libs
Installed-Size: 12986
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Architecture: amd64
Multi-Arch: same
Source: glibc
Version: 2.36-9+deb12u10
Depends: libgcc-s1
Description: GNU C Library: Shared libraries
 Contains the standard libraries that are used by nearly all programs on
 the system. This package includes shared versions of the standard C library
 and the standard math library, as well as many others.
Homepage: https://www.gnu.org/software/libc/libc.html

Package: openssl
Status: install ok installed
Priority: optional
Section: utils
Installed-Size: 2290
Maintainer: Debian OpenSSL Team <pkg-openssl-devel@alioth-lists.debian.net>
Architecture: amd64
Multi-Arch: foreign
Version: 3.0.15-1~deb12u1
Depends: libc6 (>= 2.34), libssl3 (>= 3.0.15)
Suggests: ca-certificates
Description: Secure Sockets Layer toolkit - cryptographic utility
 This package is part of the OpenSSL project's implementation of the SSL
 and TLS cryptographic protocols for secure communication over the
 Internet.
Homepage: https://www.openssl.org/

EOF
printf 'greeting=hello\nport=8080\n' >"$context/app/etc/app.conf"
printf 'greeting=ahoy\nport=8080\n' >"$context/site/etc/app.conf"

# build VERSION ARCHIVE: the archive of `docker save`, and beside it the manifest skopeo makes from it. A classic archive
# carries no manifest; `dir:` writes one over the same config bytes and layers.
build() {
    local version=$1 archive=$2
    cat >"$context/app/usr/bin/app" <<EOF
#!/bin/sh
# app $version
. /etc/app.conf
echo "\$greeting from app $version on port \$port"
EOF
    chmod 0755 "$context/app/usr/bin/app"
    cat >"$context/Dockerfile" <<EOF
FROM scratch
COPY system /
COPY app /
COPY site /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LABEL org.opencontainers.image.version=$version
USER 1000:1000
ENTRYPOINT ["/usr/bin/app"]
EOF
    # One date for every file, so that both builds share the layers that did not change.
    find "$context/system" "$context/app" "$context/site" -exec touch --date=2026-01-05T12:00:00Z {} +
    # The classic builder: the other one wants a plugin, and writes attestations where it is given one.
    DOCKER_BUILDKIT=0 docker build --quiet --tag "$name" "$context"
    docker save --output "$archive.tar" "$name"
    chmod 0644 "$archive.tar"
    rm -rf "$context/dir"
    skopeo copy --quiet "docker-archive:$archive.tar" "dir:$context/dir"
    cp "$context/dir/manifest.json" "$archive.manifest.json"
}

# The older build first: it is what the tag meant before.
build 1.4.0 "$here/app-old"
build 1.4.1 "$here/app"
