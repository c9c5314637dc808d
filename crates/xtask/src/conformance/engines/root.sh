
# The engines' root; debian.sh stands above.
bootstrap
add_engines
add_user
step "names"
echo engines >"$root/etc/hostname"
printf '127.0.0.1 localhost engines\n' >"$root/etc/hosts"
tidy
