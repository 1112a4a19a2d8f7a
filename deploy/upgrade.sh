#!/bin/sh
# Replaces the installed release by this checkout. State and settings stay. The old release stays or comes back, and this script ends
# with 1, if the new release refuses any station's settings or does not come up, or if the upgrade is interrupted before it does.
set -eu
. "$(dirname -- "$0")/release.sh"

# Called when anything ends the upgrade before the new release runs; a second Ctrl-C does not stop it.
go_back() {
	trap '' INT TERM HUP
	switch_to "$BEFORE"
	install_units || say "the units of $BEFORE could not be put back into $UNITS"
	rm -rf "$RELEASE"
	for unit in $RESTARTED; do
		systemctl restart "$unit" || say "the old release does not start either: journalctl -u $unit"
	done
	fail "$WHY; $BEFORE is back, see journalctl -u 'mdss*'"
}

check_machine "$@"
[ -L "$LIVE" ] || fail "found no $LIVE, expected an installed station; run deploy/install.sh"
BEFORE=$(readlink -f "$LIVE")
build_release
check_settings station
STATIONS=$(stations)
for unit in $STATIONS; do
	[ "$unit" = mdss ] || check_settings "${unit#mdss@}"
done
RESTARTED='' STATE="is in place; the station is neither enabled nor running" WHY="the upgrade did not get through"
trap go_back EXIT
trap 'WHY="the upgrade was interrupted"; exit 1' INT TERM HUP
switch_to "$RELEASE"
install_units
for unit in $STATIONS; do
	RESTARTED="$RESTARTED $unit" STATE=runs
	if ! systemctl restart "$unit"; then
		WHY="the new release did not start"
		exit 1
	fi
done
keep_release
remove_old_units
remove_old_releases "$RELEASE" "$BEFORE"
say "$RELEASE $STATE; $BEFORE is kept"
