#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Style checks over what git tracks. Changes nothing; exit status 1 if anything is wrong.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0

fail() {
	echo "lint: $*" >&2
	bad=1
}

sources=$(git ls-files '*.c' '*.h')
scripts=$(git ls-files '*.sh' .ci/run)
python=$(git ls-files '*.py'
	git grep -lI '^#!.*python3' -- tools bench test 2>/dev/null | grep -v '\.py$')

# shellcheck disable=SC2086 # lists of names without blanks
clang-format --dry-run --Werror $sources || fail "clang-format: run make format"
# shellcheck disable=SC2086
shellcheck $scripts || fail "shellcheck"
# shellcheck disable=SC2086
/usr/bin/python3 -m pycodestyle --max-line-length=100 --ignore=E741,W503,W504 $python ||
	fail "pycodestyle"
git ls-files -z | grep -zv '^test/data/' |
	xargs -0 codespell --ignore-words scripts/codespell-ignore.txt || fail "codespell"

for f in $(git ls-files '*.c' '*.h' '*.py' '*.sh' '*meson.build' Makefile); do
	head -n 2 "$f" | grep -q 'SPDX-License-Identifier: BSD-3-Clause' || fail "$f: no SPDX line"
done
for f in $(git ls-files '*.c' '*.h' '*.py'); do
	n=$(wc -l < "$f")
	[ "$n" -le 700 ] || fail "$f: $n lines, split it (at most 700)"
done
# pytest imports them by this name. The guests' tests run apart.
twice=$(git ls-files 'test/*/test_*.py' | grep -v '^test/guest/' | sed 's|.*/||' | sort | uniq -d)
[ -z "$twice" ] || fail "two test files of one name: $twice"
long=$(git grep -nE '^.{101,}$' -- '*.py' '*.sh' 'Makefile' '*meson.build' || true)
[ -z "$long" ] || fail "longer than 100 columns: $long"
if git grep -nE '(^|[^:])//' -- '*.c' '*.h' | grep -vE '"[^"]*//|http' | grep -q .; then
	fail "use /* */ comments"
fi
[ "$bad" -eq 0 ] && echo "lint: clean"
exit "$bad"
