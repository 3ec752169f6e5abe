"""Findings that a report leaves open: what a -1 counts as, and what the label is called then."""

import numpy as np

POLICIES = ("zeros", "ones", "ignore")
UNLABELED = -2  # of a stored finding that nobody looked at, which no policy makes a 0 or 1


def resolve(findings: np.ndarray, policy: str | None) -> np.ndarray:
    """i8 of the same shape, 1 yes, 0 no, -1 unknown: stored ones, where -1 is uncertain and UNLABELED unlabeled, under a policy.

    "zeros": uncertain is 0, "ones": 1, "ignore" and None: unknown. Source: U-Zeros, U-Ones and U-Ignore of CheXpert (Irvin et al. 2019,
    sec. 4.1). Raises ValueError for another policy.
    """
    check_policy(policy)
    values = np.asarray(findings)
    kept = np.where(values == -1, {"zeros": 0, "ones": 1}.get(policy or "", -1), values)
    return np.maximum(kept, -1).astype(np.int8)


def label_name(name: str, policy: str | None) -> str:
    """The label's name under a policy, which every metric carries: "findings@u_ones"; as it is for None."""
    check_policy(policy)
    return name if policy is None else f"{name}@u_{policy}"


def check_policy(policy: str | None) -> None:
    """ValueError for a policy that is none of POLICIES or None."""
    if policy is not None and policy not in POLICIES:
        raise ValueError(f"uncertain {policy!r} is not {', '.join(map(repr, POLICIES[:-1]))} or {POLICIES[-1]!r}")
