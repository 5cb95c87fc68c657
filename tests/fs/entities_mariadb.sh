#!/bin/bash
# entities/ and history/ on mariadb: every entity by its name, documents with white space included.
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/entities.bash"
entities mariadb "${METASNAP_ROWS:-5000}"
