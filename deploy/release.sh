# shellcheck shell=sh
# What install.sh and upgrade.sh share. Each release is a venv of its own below /opt/mdss/releases; /opt/mdss/.venv points to the one that runs.
# PYTHON names the interpreter. MDSS_ROOT puts everything below another root, as the tests do.

SOURCE=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
ROOT=${MDSS_ROOT:-}
OPT=$ROOT/opt/mdss
LIVE=$OPT/.venv
ETC=$ROOT/etc/mdss
UNITS=$ROOT/etc/systemd/system
PYTHON=${PYTHON:-python3}
umask 022 # the station's user reads what root installs

say() {
	echo "mdss: $*"
}

fail() {
	echo "mdss: $*" >&2
	exit 1
}

check_machine() {
	[ $# = 0 ] || fail "found the argument $1, expected none; deploy/README.md says what $0 does"
	[ "$(id -u)" = 0 ] || fail "found user $(id -un), expected root: sudo sh $0"
	[ -f "$SOURCE/pyproject.toml" ] || fail "found no pyproject.toml in $SOURCE, expected a checkout of the project"
	"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
		fail "$PYTHON is no Python >= 3.11; name one: PYTHON=/path/to/python3 sh $0"
}

# Set RELEASE to a new venv with this checkout in it. If the build fails half-way, the venv is removed and nothing else is touched.
build_release() {
	RELEASE=$OPT/releases/$(date -u +%Y%m%dT%H%M%SZ)-$$
	COPY=$(mktemp -d)
	trap 'rm -rf "$COPY" "$RELEASE"' EXIT
	trap 'exit 1' INT TERM HUP
	say "building $RELEASE: this takes a few minutes, mostly for torch"
	mkdir -p "$OPT/releases"
	"$PYTHON" -m venv "$RELEASE"
	# Install from a copy without earlier builds, so that a deleted module does not come back.
	tar -C "$SOURCE" -cf - --exclude=./.venv --exclude=./.git --exclude=./build --exclude=./out --exclude=./data --exclude=./models --exclude=./report --exclude=./keys --exclude=./config/station --exclude='*.egg-info' . | tar -C "$COPY" -xf -
	pip_install setuptools
	pip_install --no-build-isolation "$COPY"
	cp -R "$COPY/docs" "$COPY/deploy" "$COPY/config" "$RELEASE/"
	rm -rf "$COPY"
	trap 'rm -rf "$RELEASE"' EXIT
}

pip_install() {
	"$RELEASE/bin/python" -m pip --disable-pip-version-check install --quiet --constraint "$COPY/constraints.txt" --only-binary :all: "$@"
}

# From here on the release is kept.
keep_release() {
	trap - EXIT
}

# Ask the new release, as the user that will run it, whether it would start with the settings in NAME.yaml.
check_settings() {
	runuser -u mdss -- "$RELEASE/bin/mdss" check "$ETC/$1.yaml" || fail "the new release refuses $ETC/$1.yaml (above); $BEFORE stays"
}

# Print each station that runs or is enabled: mdss with the settings in station.yaml, mdss@NAME with those in NAME.yaml.
stations() {
	for file in "$ETC"/*.yaml; do
		unit=mdss@$(basename "$file" .yaml)
		[ "$unit" != mdss@station ] || unit=mdss
		if systemctl --quiet is-enabled "$unit" || systemctl --quiet is-active "$unit"; then
			echo "$unit"
		fi
	done
}

switch_to() {
	ln -sfn "$1" "$OPT/.venv.new"
	mv -T "$OPT/.venv.new" "$LIVE"
}

# Install the units of the live release: one that an upgrade goes back to may have others.
install_units() {
	mkdir -p "$UNITS"
	for unit in "$LIVE"/deploy/mdss*.service "$LIVE"/deploy/mdss*.timer; do
		install -m 0644 "$unit" "$UNITS/${unit##*/}"
	done
	systemctl daemon-reload
}

# Earlier releases had one retraining unit for one recipe. Call this only once the new release runs: going back needs them as they were.
remove_old_units() {
	for unit in mdss-retrain.timer mdss-retrain.service; do
		[ -e "$UNITS/$unit" ] || continue
		systemctl disable --now "$unit"
		rm -f "$UNITS/$unit"
		systemctl daemon-reload
		say "$unit is gone: enable mdss-retrain@RECIPE.timer for each recipe that is to be retrained"
	done
}

# Remove all releases but the one that runs and the one before it.
remove_old_releases() {
	for release in "$OPT"/releases/*; do
		case $(readlink -f "$release") in
		"$(readlink -f "$1")" | "$(readlink -f "$2")") ;;
		*) rm -rf "$release" ;;
		esac
	done
}
