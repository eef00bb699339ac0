# Sourced by the scripts beside it.

say() { printf '%s\n' "normfree: $*" >&2; }

# Runs a command as root, with sudo only if needed.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        say "this needs root: sudo $*"
        sudo "$@"
    else
        say "this needs root, and there is no sudo. Run as root: $*"
        exit 1
    fi
}

# Installs the packages in apt_packages, dnf_packages, pacman_packages or zypper_packages, with the package manager found.
install_packages() {
    if command -v apt-get >/dev/null; then
        say "installing $apt_packages with apt-get"
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
        # shellcheck disable=SC2086
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $apt_packages
    elif command -v dnf >/dev/null; then
        say "installing $dnf_packages with dnf"
        # shellcheck disable=SC2086
        as_root dnf install -y $dnf_packages
    elif command -v pacman >/dev/null; then
        say "installing $pacman_packages with pacman"
        # shellcheck disable=SC2086
        as_root pacman -S --needed --noconfirm $pacman_packages
    elif command -v zypper >/dev/null; then
        say "installing $zypper_packages with zypper"
        # shellcheck disable=SC2086
        as_root zypper --non-interactive install $zypper_packages
    else
        say "no package manager known here (apt-get, dnf, pacman, zypper); install ${by_hand:-a Vulkan driver} by hand"
        exit 1
    fi
}
