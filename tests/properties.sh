#!/usr/bin/env bash
# Random configurations of dispatch and combine on one to four ranks; every output must have the numpy reference's bits.
# Prints its seed and shrinks a case that fails. Needs Python and g++, as tests/run.sh does.
#
#   bash tests/properties.sh                      3,000 cases of a new seed: 2 minutes
#   bash tests/properties.sh --cases N --seed S   that seed again
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$repository/tests"  # not the repository's root, where ms_moe_comm is the source and not the built package
python -m properties.run "$@"
