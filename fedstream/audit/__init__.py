"""Verify a run from the bytes in the bucket alone: the chain of commits, every object, verdict and average; and, if asked, the records."""

from fedstream.audit.copy import copy_run
from fedstream.audit.verify import VerifyReport, verify_run

__all__ = ["VerifyReport", "copy_run", "verify_run"]
