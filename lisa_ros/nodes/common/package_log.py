# SPDX-License-Identifier: Apache-2.0
"""What the package's modules without ROS log (models, stored dialogues), in the log of the process's node."""

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger

from lisa_ros.segmentation.text import without_surrogates


def log_to(logger: RcutilsLogger) -> None:
    """Pass all that the package logs from now on to a node's logger, and to no earlier one."""
    package = logging.getLogger("lisa_ros")
    package.handlers = [one for one in package.handlers if not isinstance(one, _ToNode)] + [_ToNode(logger)]
    package.setLevel(logging.INFO)


class _ToNode(logging.Handler):
    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record at its level. rclpy allows a line of code one level only."""
        try:
            text = without_surrogates(self.format(record))  # a file name may have lone surrogates
            if record.levelno >= logging.ERROR:
                self._logger.error(text)
            elif record.levelno >= logging.WARNING:
                self._logger.warning(text)
            else:
                self._logger.info(text)
        except Exception:  # as logging's own handlers do
            self.handleError(record)
