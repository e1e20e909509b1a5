#!/bin/sh
# Restores a backup and fails in its third of four steps: the archive was cut short on its
# way, which gzip finds out. It ends with exit code 3 and leaves nothing behind.
#
# Parameters (environment variables):
#   TARGET  where the backup would be restored; ./restored
#   PACE    seconds to rest between two pieces of work; 0.2
set -u

TARGET=${TARGET:-$PWD/restored}
PACE=${PACE:-0.2}

step() {
    printf '[%d/4] %s\n' "$1" "$2"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

step 1 "Looking for the newest backup"
awk 'BEGIN { for (i = 1; i <= 20000; i++) print i, i * 7919 % 104729 }' >"$work/rows.txt"
(cd "$work" && tar -cf - rows.txt | gzip -n >backup.tar.gz)
rm "$work/rows.txt"
printf '  backup.tar.gz, %d bytes\n' "$(wc -c <"$work/backup.tar.gz")"
sleep "$PACE"

step 2 "Fetching it"
head -c 4096 "$work/backup.tar.gz" >"$work/fetched.tar.gz"
for percent in 25 50 75 100; do
    printf '  fetched %d%%\n' "$percent"
    sleep "$PACE"
done
printf 'WARN: the sender closed the connection early\n' >&2

step 3 "Unpacking it"
mkdir -p "$work/unpacked"
if ! (cd "$work" && gzip -dc fetched.tar.gz >backup.tar); then
    printf 'ERROR: the backup is incomplete; nothing was restored to %s\n' "$TARGET" >&2
    exit 3
fi

step 4 "Putting it in place"
tar -xf "$work/backup.tar" -C "$work/unpacked"
mv "$work/unpacked" "$TARGET"
printf 'SUCCESS: restored to %s\n' "$TARGET"
