#!/bin/sh
# Replaces the installed release by this checkout. State and settings stay. The old release stays or comes back, and this script ends
# with 1, if the new release refuses the settings or does not come up, or if the upgrade is interrupted before it does.
set -eu
. "$(dirname -- "$0")/release.sh"

# Called when anything ends the upgrade before the new release runs; a second Ctrl-C does not stop it.
go_back() {
	trap '' INT TERM HUP
	switch_to "$BEFORE"
	install_units || say "the units of $BEFORE could not be put back into $UNITS"
	rm -rf "$RELEASE"
	[ -z "$RESTARTED" ] || systemctl restart mdss || say "the old release does not start either: journalctl -u mdss"
	fail "$WHY; $BEFORE is back, see journalctl -u mdss"
}

check_machine "$@"
[ -L "$LIVE" ] || fail "found no $LIVE, expected an installed station; run deploy/install.sh"
BEFORE=$(readlink -f "$LIVE")
build_release
check_settings || fail "the new release refuses $ETC/station.yaml (above); $BEFORE stays"
RESTARTED='' STATE="is in place; the station is neither enabled nor running" WHY="the upgrade did not get through"
trap go_back EXIT
trap 'WHY="the upgrade was interrupted"; exit 1' INT TERM HUP
switch_to "$RELEASE"
install_units
if systemctl --quiet is-enabled mdss || systemctl --quiet is-active mdss; then
	RESTARTED=yes STATE=runs
	if ! systemctl restart mdss; then
		WHY="the new release did not start"
		exit 1
	fi
fi
keep_release
remove_old_units
remove_old_releases "$RELEASE" "$BEFORE"
say "$RELEASE $STATE; $BEFORE is kept"
