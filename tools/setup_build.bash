# SPDX-License-Identifier: Apache-2.0
# Sourced by tools/setup: the colcon build into install/.

# Prints the files below those of its arguments that exist.
files_below() {
  local path
  for path in "$@"; do
    if [ -e "$path" ]; then find "$path" -name __pycache__ -prune -o -type f -print; fi
  done
}

# What the compiler and CMake see.
compiled_digest() {
  { echo "$1"; files_below CMakeLists.txt package.xml msg srv action scripts | LC_ALL=C sort | xargs -d '\n' sha256sum; } | digest
}

# What is linked into install/ file by file: their names are enough.
linked_digest() {
  { echo "$1"; files_below lisa_ros launch config | LC_ALL=C sort; } | digest
}

build_package() {
  local compiled wanted log=.cache/build.log
  compiled=$(compiled_digest "$1")
  wanted=$(linked_digest "$compiled")
  if [ -f install/local_setup.bash ] && stamped install/.stamp "$wanted"; then return 0; fi
  # From scratch after a change to the messages or CMake: what was removed would otherwise stay in install/.
  if ! stamped build/.stamp "$compiled"; then rm -rf build install; fi
  rm -f install/.stamp
  say "colcon build: compiles the messages and links the package into install/"
  mkdir -p build launch config
  if ! colcon_build >$log 2>&1; then
    cat $log >&2
    fail "the build failed; what it said is above and in $log"
  fi
  grep '^Summary' $log >&2 || true
  find -L install -type l -delete # links to files that are gone
  echo "$compiled" >build/.stamp
  echo "$wanted" >install/.stamp
}

colcon_build() (
  . tools/environment.bash
  colcon --log-base .cache/log build --symlink-install --event-handlers console_direct+ desktop_notification- \
    --cmake-args -DPython3_EXECUTABLE="$root/.venv/bin/python" -DBUILD_TESTING=OFF
)
