# SPDX-License-Identifier: Apache-2.0
# To be sourced by bash: the virtual environment, ROS 2 and, once it is built, this package's overlay.

lisa_ros_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export VIRTUAL_ENV="$lisa_ros_root/.venv"
export PATH="$VIRTUAL_ENV/bin:$PATH"
unset PYTHONHOME
# The repository's lisa_ros/ folder, without its messages, must not be found before the built one (python -m ...).
export PYTHONSAFEPATH=1
# A sourced ROS 2 has set these already; the wheels' ROS 2 lies in the virtual environment.
if [ -d "$VIRTUAL_ENV/share/ament_index" ]; then
  export AMENT_PREFIX_PATH="$VIRTUAL_ENV${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}"
  export CMAKE_PREFIX_PATH="$VIRTUAL_ENV${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}"
fi
if [ -f "$lisa_ros_root/install/local_setup.bash" ]; then
  # colcon's scripts read variables that may be unset.
  case $- in *u*) set +u; lisa_ros_nounset=1 ;; *) lisa_ros_nounset= ;; esac
  . "$lisa_ros_root/install/local_setup.bash"
  if [ -n "$lisa_ros_nounset" ]; then set -u; fi
  unset lisa_ros_nounset
fi
if [ -n "${lisa_ros_private:-}" ]; then
  unset ROS_DOMAIN_ID ROS_AUTOMATIC_DISCOVERY_RANGE ROS_STATIC_PEERS
fi
# Nothing is sent beyond this machine. Terminals of one checkout hear each other, two checkouts do not.
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
if [ -z "${ROS_DOMAIN_ID:-}" ]; then
  # 1-100: above that, DDS's ports meet those that Linux hands out to anybody.
  export ROS_DOMAIN_ID=$((1 + $(printf '%s' "$lisa_ros_root${lisa_ros_private:-}" | cksum | cut -d' ' -f1) % 100))
fi
# See lisa_ros/segmentation/interface.py; here for training and tests, which import torch by themselves.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"
unset lisa_ros_root
