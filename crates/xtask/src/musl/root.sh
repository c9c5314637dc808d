# A root with Debian's Rust compiler and musl; debian.sh stands above, and libseccomp prints a script.
bootstrap
step "compilers"
add_packages rustc cargo rust-src musl-tools gcc libc6-dev linux-libc-dev make gperf
step "libseccomp"
mkdir "$root/opt/musl"
# Of the stable Debian, whose sources are not taken from the archive again while an index still names them.
sed -i 's/ testing / stable /' "$root/etc/apt/sources.list"
libseccomp >"$root/opt/musl/libseccomp.sh"
inside sh /opt/musl/libseccomp.sh /opt/musl
# std names it; with panics that abort and no backtraces nothing refers to it.
inside ar cr /opt/musl/libunwind.a
tidy
