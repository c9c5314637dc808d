
# The engines' root: debian.sh stands above.
bootstrap
install_engines
add_user
step "services"
echo engines >"$root/etc/hostname"
printf '127.0.0.1 localhost engines\n' >"$root/etc/hosts"
tidy
