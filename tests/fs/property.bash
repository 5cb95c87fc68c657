# shellcheck shell=bash
#
# tests/fs/property.bash - random databases of one engine (tests/property): snapshots, changes of rows and of the schema, restores by
# difference, by object and into an empty database; the server's own dump is the same, `diff --stat` says what SQL says, and every
# snapshot still verifies. PROPERTY_SEEDS=FROM-TO: which. Sourced by property_ENGINE.sh and property_long.sh.

# property ENGINE SEEDS [OPTION...]
property() {
	local engine=$1 seeds=$2
	shift 2
	requires python3
	use_db "$engine"
	export SERVER_URL=${SERVER_URL:-} SERVER_PASSWORD_FILE=${SERVER_PASSWORD_FILE:-} SERVER_BINDIR=${SERVER_BINDIR:-}
	export SERVER_CLIENT=${SERVER_CLIENT:-} SERVER_MYSQLDUMP=${SERVER_MYSQLDUMP:-}
	step "$engine: seeds $seeds"
	"$TESTS_DIR/property/property.py" "$engine" "$seeds" --metasnap "$METASNAP" --work "$CASE_DIR/property" "$@" ||
		fail "what is left of the scripts: PROPERTY_SEEDS=SEED METASNAP_TAIL=200 tests/run -k $CASE_NAME"
}
