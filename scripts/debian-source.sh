#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Fetch and unpack a Debian source package without touching the machine's apt configuration.
#
#   debian-source.sh PACKAGE VERSION DIRECTORY
#
# The private configuration takes the machine's own binary sources and asks them for source
# packages. The unpacked tree (patches applied) is left in DIRECTORY/src.
set -eu

[ $# -eq 3 ] || { echo "usage: $0 PACKAGE VERSION DIRECTORY" >&2; exit 2; }
package=$1 version=$2 dir=$3

die() {
	echo "debian-source: $*" >&2
	exit 1
}

command -v dpkg-source >/dev/null || die "dpkg-source is missing: apt-get install dpkg-dev"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
apt=$dir/apt
rm -rf "$apt" "$dir/src"
mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/sources.list.d"

# One-line style and deb822 style, each with its type turned into deb-src. A mirror's address says
# nothing: Debian's own suites are known by their name and their component main.
# shellcheck source=/dev/null
. /etc/os-release
suite="(${VERSION_CODENAME:-stable}|stable|testing|unstable|sid)(-updates|-security|-backports)?"
line="^deb[[:space:]].*[[:space:]]${suite}[[:space:]](.*[[:space:]])?main([[:space:]]|\$)"
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
	[ -f "$f" ] && grep -E "$line" "$f" | sed 's/^deb/deb-src/'
done > "$apt/sources.list.d/lines.list" || true
for f in /etc/apt/sources.list.d/*.sources; do
	if ! grep -qsE "^Suites:(.*[[:space:]])?${suite}([[:space:]]|\$)" "$f" ||
	   ! grep -qsE '^Components:(.*[[:space:]])?main([[:space:]]|$)' "$f"; then
		continue
	fi
	sed 's/^Types:.*/Types: deb-src/' "$f" > "$apt/sources.list.d/$(basename "$f")"
done

aptget() {
	apt-get -q -o Dir::Etc::sourcelist=/dev/null \
		-o Dir::Etc::sourceparts="$apt/sources.list.d" \
		-o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt" \
		-o Dir::Cache::archives="$apt/archives" -o APT::Sandbox::User=root "$@"
}
log=$dir/apt.log
# A third party's suite of the same name may have no sources: only the package matters.
aptget update > "$log" 2>&1 || true
cd "$dir"
aptget source --download-only "$package=$version" >> "$log" 2>&1 ||
	{ cat "$log" >&2; die "no source package $package $version: its binary is installed, but the \
configured Debian mirrors no longer have its source; upgrade $package and run set-up again"; }
dsc=$(find "$dir" -maxdepth 1 -name "${package}_*.dsc" | head -n 1)
dpkg-source -x "$dsc" "$dir/src" >> "$log" 2>&1 || { cat "$log" >&2; die "cannot unpack $dsc"; }
rm -rf "$apt"
