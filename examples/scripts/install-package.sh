#!/bin/sh
# Installs a small package into a prefix, as installers do: it checks the machine, verifies
# the archive, unpacks it with a percent bar, puts it in place in one step, and tries it.
# It makes the archive itself, so that it needs no network.
#
# Parameters (environment variables):
#   VERSION      the version to install; 1.4.2
#   PREFIX       where to install it; ./prefix
#   LICENSE_KEY  a sensitive value that ends up in the installed settings; none
#   PACE         seconds to rest between two pieces of work; 0.05
set -eu

VERSION=${VERSION:-1.4.2}
PREFIX=${PREFIX:-$PWD/prefix}
LICENSE_KEY=${LICENSE_KEY:-}
PACE=${PACE:-0.05}
STEPS=7
FILES=40

step() {
    printf '[%d/%d] %s\n' "$1" "$STEPS" "$2"
}

fail() {
    printf 'ERROR: %s\n' "$1" >&2
    exit 1
}

rest() {
    sleep "$PACE"
}

work=$(mktemp -d)
trap 'rm -rf "$work" "$PREFIX.new"' EXIT
trap 'printf "ERROR: interrupted; %s is as it was\n" "$PREFIX" >&2; exit 130' INT TERM

step 1 "Checking the machine"
for tool in tar gzip sha256sum awk; do
    command -v "$tool" >/dev/null || fail "$tool is missing"
    printf '  found %s\n' "$tool"
done
case $VERSION in
    *[!0-9.]* | '') fail "'$VERSION' is no version; give one such as 1.4.2" ;;
esac
[ -z "$LICENSE_KEY" ] || printf '  licence key %s\n' "$LICENSE_KEY"
rest

step 2 "Fetching hello-$VERSION.tar.gz"
source="$work/hello-$VERSION"
mkdir -p "$source/bin" "$source/share"
cat >"$source/bin/hello" <<SCRIPT
#!/bin/sh
[ "\${1:-}" = --version ] && echo "hello $VERSION" && exit
echo "hello, \${1:-world}"
SCRIPT
chmod 755 "$source/bin/hello"
number=1
while [ "$number" -le "$FILES" ]; do
    awk -v n="$number" 'BEGIN { for (i = 1; i <= 200; i++) print n, i, n * i % 9973 }' \
        >"$source/share/table-$number.txt"
    number=$((number + 1))
done
(cd "$work" && tar -cf - "hello-$VERSION" | gzip -n >"hello-$VERSION.tar.gz")
(cd "$work" && sha256sum "hello-$VERSION.tar.gz" >checksums.txt)
rm -rf "$source"
rest

step 3 "Verifying the checksum"
(cd "$work" && sha256sum -c checksums.txt) || fail "the archive is damaged"
rest

step 4 "Unpacking"
(cd "$work" && gzip -dc "hello-$VERSION.tar.gz" >package.tar)
total=$(tar -tf "$work/package.tar" | grep -vc '/$')
# the bar speaks of the whole installation: from the end of step 3 to the end of step 4
from=$((3 * 100 / STEPS))
until=$((4 * 100 / STEPS))
done=0
for name in $(tar -tf "$work/package.tar" | grep -v '/$'); do
    tar -xf "$work/package.tar" -C "$work" "$name"
    done=$((done + 1))
    printf '\r  %3d%%' $((from + done * (until - from) / total))
    rest
done
printf '\n  %d files\n' "$done"

step 5 "Writing settings"
mkdir -p "$source/etc"
printf 'version = "%s"\nlicense_key = "%s"\n' "$VERSION" "$LICENSE_KEY" \
    >"$source/etc/hello.conf"
chmod 600 "$source/etc/hello.conf"
rest

step 6 "Installing into $PREFIX"
rm -rf "$PREFIX.new"
mkdir -p "$(dirname "$PREFIX")"
cp -R "$source" "$PREFIX.new"
if [ -e "$PREFIX" ]; then
    printf 'WARN: replacing what is in %s\n' "$PREFIX"
    rm -rf "$PREFIX"
fi
mv "$PREFIX.new" "$PREFIX"
rest

step 7 "Trying it"
said=$("$PREFIX/bin/hello" --version)
[ "$said" = "hello $VERSION" ] || fail "it says '$said'"
case ":$PATH:" in
    *":$PREFIX/bin:"*) ;;
    *) printf 'WARN: %s is not on the PATH\n' "$PREFIX/bin" ;;
esac
printf 'SUCCESS: %s is installed in %s\n' "$said" "$PREFIX"
