"""Verify a run from the bytes in the bucket alone: the chain of commits, every object, every average; and, if asked, the records."""

from fedstream.audit.chain import VerifyReport, stream_check_of, verify_run
from fedstream.audit.copy import copy_run

__all__ = ["VerifyReport", "copy_run", "stream_check_of", "verify_run"]
