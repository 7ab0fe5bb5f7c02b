#!/usr/bin/env bash
# Installs a package on a copy of this machine's files that is forgotten afterwards, uses it as a user
# who has nothing, and removes it. Everything is in namespaces of its own, the network too. It needs
# root, and a kernel with overlayfs.
#
#   tests/packaging/install.sh PACKAGE [ROOT]
#
# PACKAGE is a .deb or a .tar.gz of scripts/package. ROOT is a directory with another Debian, as
# debootstrap makes it, in place of this machine's files. The last line that it prints is "passed".
set -euo pipefail
[ $# -gt 0 ] || {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
package=$(realpath "$1") lower=$(realpath "${2:-/}")

if [ "${3:-}" != inside ]; then
    exec timeout --kill-after=5 300 unshare --mount --pid --fork --kill-child --uts --ipc --net \
        "$(realpath "$0")" "$package" "$lower" inside
fi

fail() {
    echo "failed: $*"
    exit 1
}

if [ "${4:-}" != chroot ]; then
    root=$(mktemp -d)
    mount -t tmpfs none "$root"
    mkdir "$root/upper" "$root/work" "$root/all"
    mount -t overlay overlay -o "lowerdir=$lower,upperdir=$root/upper,workdir=$root/work" "$root/all"
    cd "$root/all"
    # A stayd that somebody has installed by hand is not what is tested.
    rm -f usr/local/bin/stayd usr/bin/stayd
    cp "$0" install.sh
    cp "$package" "${package##*/}"
    mount -t proc proc proc
    mount -t tmpfs tmpfs run
    mount -t tmpfs -o mode=1777 tmpfs tmp
    mount -t tmpfs tmpfs dev
    for device in null zero urandom tty; do
        touch "dev/$device"
        mount --bind "/dev/$device" "dev/$device"
    done
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    mount -t tmpfs -o mode=1777 tmpfs dev/shm
    ln -s /proc/self/fd dev/fd
    ip link set lo up
    mkdir -p old
    pivot_root . old
    umount --lazy /old
    exec env --ignore-environment PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        bash /install.sh "/${package##*/}" / inside chroot
fi

# minbase has no manual pages and says so in its settings of dpkg.
rm -f /etc/dpkg/dpkg.cfg.d/docker /etc/dpkg/dpkg.cfg.d/excludes
case $package in
*.deb)
    prefix=/usr
    dpkg --install "$package" >/dev/null 2>/tmp/dpkg || fail "dpkg: $(cat /tmp/dpkg)"
    completions=/usr/share/bash-completion/completions/stayd
    [ -e /usr/share/zsh/vendor-completions/_stayd ] || fail "no completions for zsh"
    ;;
*)
    prefix=/usr/local
    tar -C $prefix --strip-components=1 -xf "$package"
    completions=$prefix/share/bash-completion/completions/stayd
    [ -e $prefix/share/zsh/site-functions/_stayd ] || fail "no completions for zsh"
    ;;
esac
[ "$(command -v stayd)" = $prefix/bin/stayd ] || fail "stayd is at $(command -v stayd)"
[ -e $prefix/share/fish/vendor_completions.d/stayd.fish ] || fail "no completions for fish"
version=$(stayd --version)
[[ $version =~ ^stayd\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "the version is $version"

# Each verb has a page, and groff finds nothing wrong with any.
for verb in $(stayd --help | sed -n '/^Verbs:/,/^$/s/^  \([a-z]\+\) .*/\1/p'); do
    [ "$verb" = help ] || compgen -G "$prefix/share/man/man1/stayd-$verb.1*" >/dev/null || fail "no page for $verb"
done
pages=0
if command -v man >/dev/null; then
    for page in "$prefix"/share/man/man1/stayd*.1*; do
        man --warnings -l "$page" >/tmp/page 2>/tmp/said || fail "$page: $(cat /tmp/said)"
        [ ! -s /tmp/said ] || fail "$page: $(cat /tmp/said)"
        grep -q "EXIT STATUS" /tmp/page || fail "$page has no exit status"
        pages=$((pages + 1))
    done
fi

# The units start this program.
for unit in $prefix/lib/systemd/{user,system}/stayd*.service; do
    grep -q "^ExecStart=$prefix/bin/stayd " "$unit" || fail "$unit starts another program"
done
if command -v systemd-analyze >/dev/null; then
    export XDG_RUNTIME_DIR=/run
    systemd-analyze --user verify --man=no $prefix/lib/systemd/user/stayd*.service 2>/tmp/said || fail "$(cat /tmp/said)"
    for unit in stayd stayd-holder; do
        systemd-analyze --system verify --man=no "$unit@root.service" 2>/tmp/said || fail "$(cat /tmp/said)"
    done
fi

# The first minutes of a user.
useradd --create-home --shell /bin/bash newcomer
cat >/tmp/first <<'FIRST'
set -e
cd
stayd serve >/tmp/log 2>&1 &
server=$!
trap 'stayd stop --all >/dev/null 2>&1 || kill $server' EXIT
# No event says that the socket is there: the verb is asked again, for at most 20 s.
for _ in $(seq 1000); do
    stayd ls >/dev/null 2>&1 && break
    sleep 0.02
done
stayd run -d --name work bash >/dev/null
stayd send work 'echo $((6 * 7)) is it' --enter
stayd wait work --text '42 is it' --timeout 20
stayd ls | grep -q work
source "$1"
COMP_WORDS=(stayd attach wo) COMP_CWORD=2
_stayd_sessions stayd wo attach || true
[ "${COMPREPLY[*]}" = work ]
case $(stayd url) in "http://127.0.0.1:7829/"*) ;; *) false ;; esac
stayd doctor >/dev/null
stayd kill work
stayd stop --all
trap - EXIT
wait $server
FIRST
runuser -u newcomer -- bash -x /tmp/first "$completions" >/tmp/said 2>&1 ||
    fail "a user's first minutes: $(tail -n 5 /tmp/said) $(tail -n 5 /tmp/log 2>/dev/null)"
! pgrep -u newcomer >/dev/null 2>&1 || fail "processes are left"

case $package in
*.deb)
    dpkg --purge stayd >/dev/null 2>/tmp/dpkg || fail "dpkg: $(cat /tmp/dpkg)"
    left=$(find /usr /etc -xdev -name '*stayd*')
    [ -z "$left" ] || fail "left after the removal: $left"
    ;;
esac
echo "$version, $pages pages"
echo passed
