"""The ladder: which group prior answers when the best one is not at hand."""

from service.features.priors import GLOBAL, Prior, Priors


def prefixes(prefix: tuple[int, ...]) -> list[tuple[int, ...]]:
    """A prefix and every shorter one, down to the global prior's empty one."""
    return [prefix[:depth] for depth in range(len(prefix), -1, -1)]


def climb_down(priors: Priors, prefix: tuple[int, ...], n_min: int = 0) -> Prior:
    """The best prior that is at hand: own prefix, shorter ones, global, the bundle's snapshot.

    Args:
        priors: what was read of the generation.
        prefix: the prefix group of the user; empty when the user is not known.
        n_min: members that a prefix group needs, when offline has not chosen the prefix.

    Returns:
        A prior; there always is one.
    """
    for shorter in prefixes(prefix):
        prior = priors.get(shorter)
        if prior is not None and (prior.size >= n_min or shorter == GLOBAL):
            return prior
    return priors.snapshot(prefix)


def step_name(
    prior: Prior, prefix: tuple[int, ...], *, user_found: bool, newcomer: bool = False
) -> str:
    """The step of the ladder, as ``service.metrics.LADDER`` names it.

    Args:
        prior: the prior that ``climb_down`` gave.
        prefix: the prefix group of the user.
        user_found: whether there is an intact user record.
        newcomer: whether the attributes of the request gave the prefix.
    """
    if prior.from_snapshot:
        return "prior_snapshot"
    if user_found and prior.prefix == prefix:
        return "user_and_group"
    if prior.prefix == GLOBAL:
        return "global_prior"
    return "newcomer_and_group" if newcomer else "user_and_prefix_group"
