# Sourced by the scripts beside it, after common.sh: unpacks packages of another Debian than the system's, installing none.

# Creates separate package lists for `own_apt` in the folder $work: own_lists WHAT SUITE..., where WHAT is deb or deb-src.
own_lists() {
    what=$1
    shift
    for tool in apt-get dpkg-deb; do
        command -v "$tool" >/dev/null || { say "this unpacks Debian's packages, and this system has no $tool"; exit 1; }
    done
    mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial"
    : >"$work/apt/status"
    site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' | grep -v security | head -n 1)
    [ -n "$site" ] || { say "this system's package lists name no archive of Debian's; run apt-get update first"; exit 1; }
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    for listed in "$@"; do
        echo "$what [signed-by=$keyring] $site $listed main"
    done >>"$work/apt/sources.list"
}

# apt with its own lists, archives and status, as on a system with nothing installed.
own_apt() {
    apt-get -q -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=- \
        -o Dir::State::lists="$work/apt/lists" -o Dir::State::status="$work/apt/status" \
        -o Dir::Cache::archives="$work/apt/archives" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
        -o Debug::NoLocking=1 -o APT::Sandbox::User= -o APT::Install-Recommends=0 "$@"
}
