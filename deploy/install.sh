#!/bin/sh
# Installs the station from this checkout, without starting it; harmless to run again. The same by hand: deploy/README.md.
set -eu
. "$(dirname -- "$0")/release.sh"

STATE=$ROOT/var/lib/mdss

check_machine "$@"
install -D -m 0644 "$SOURCE/deploy/mdss.sysusers.conf" "$ROOT/etc/sysusers.d/mdss.conf"
systemd-sysusers "$ROOT/etc/sysusers.d/mdss.conf"
install -d -m 0750 -g mdss "$ETC"
install -d -m 0750 -o mdss -g mdss "$STATE"
# As its user: a link that this user has put there must give it no folder of root's.
runuser -u mdss -- mkdir -p -m 0750 "$STATE/models"
for name in station.yaml retrain.env; do
	case $name in
	station.yaml) example=$SOURCE/config/station.example.yaml ;;
	*) example=$SOURCE/deploy/retrain.env ;;
	esac
	# What an engineer has written is never overwritten.
	[ -e "$ETC/$name" ] || install -m 0640 -g mdss "$example" "$ETC/$name"
done
if [ -L "$LIVE" ]; then
	say "$(readlink "$LIVE") is installed already and stays; a newer checkout comes in by deploy/upgrade.sh"
else
	build_release
	keep_release
	switch_to "$RELEASE"
fi
install_units
say "installed. Next: edit $ETC/station.yaml, put a model into $STATE/models, then"
say "  $LIVE/bin/mdss check $ETC/station.yaml && systemctl enable --now mdss"
