#!/bin/sh
# Builds libseccomp.a for musl, from the source package of this Debian or its kin. Nothing of the machine's apt is changed.
# usage: libseccomp.sh DIRECTORY, which gets libseccomp.a
set -eu
directory=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/parts" "$work/state/lists/partial" "$work/cache/archives/partial" "$work/source"

# The machine's own archives, for sources.
: >"$work/list"
[ ! -e /etc/apt/sources.list ] || sed 's/^deb /deb-src /' /etc/apt/sources.list >"$work/list"
for file in /etc/apt/sources.list.d/*.list; do
    [ ! -e "$file" ] || sed 's/^deb /deb-src /' "$file" >"$work/parts/${file##*/}"
done
for file in /etc/apt/sources.list.d/*.sources; do
    [ ! -e "$file" ] || sed 's/^Types:.*/Types: deb-src/' "$file" >"$work/parts/${file##*/}"
done
get() {
    apt-get -q -o Dir::Etc::sourcelist="$work/list" -o Dir::Etc::sourceparts="$work/parts" -o Dir::State="$work/state" \
        -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$work/cache" -o APT::Sandbox::User= "$@"
}
get update
cd "$work/source"
get source --download-only --only-source libseccomp
tar -xf libseccomp_*.orig.tar.?z
cd libseccomp-*/

# The kernel's headers are beside glibc's; musl's own come first.
headers="-idirafter /usr/include -idirafter /usr/include/$(gcc -print-multiarch)"
./configure --host="$(uname -m)-linux-musl" --enable-static --disable-shared CC=musl-gcc CFLAGS="-O2 $headers"
make -C include
make -C src libseccomp.la
cp src/.libs/libseccomp.a "$directory/"
