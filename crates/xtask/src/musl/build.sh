#!/bin/sh
# Builds corten in the root. Nothing is written to it: an overlay takes what is changed, and goes with the mount namespace.
# usage: build.sh CACHE WORKSPACE CARGO_HOME TARGET_DIRECTORY COMMIT TARGET
set -eu
cache=$1 workspace=$2 cargo=$3 target=$4 commit=$5 triple=$6
mount -t tmpfs -o mode=755 tmpfs "$cache/mnt"
cd "$cache/mnt"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=$cache/root,upperdir=$cache/mnt/upper,workdir=$cache/mnt/work" root
cd root
mkdir -p workspace cargo target
mount --bind "$workspace" workspace
mount -o remount,bind,ro workspace
mount --bind "$cargo" cargo
mount --bind "$target" target
mount -t proc proc proc
mount --rbind /dev dev
# Debian has no std for musl: it is built, too. All crates are there, and the network is not wanted.
exec chroot . env -i --chdir=/workspace PATH=/usr/bin:/bin HOME=/root CARGO_HOME=/cargo CARGO_TARGET_DIR=/target "TERM=${TERM:-dumb}" \
    "CORTEN_COMMIT=$commit" "CARGO_PROFILE_RELEASE_STRIP=${CARGO_PROFILE_RELEASE_STRIP:-symbols}" LIBSECCOMP_LIB_PATH=/opt/musl RUSTC_BOOTSTRAP=1 \
    cargo build --release --package corten --target "$triple" --locked --offline \
    -Zbuild-std=std,panic_abort -Zbuild-std-features= \
    --config "target.$triple.linker='musl-gcc'" \
    --config "target.$triple.rustflags=['-Clink-self-contained=no', '-Lnative=/opt/musl']"
