"""What the host reports to a person, one sentence each."""


class HostError(Exception):
    """A run that cannot start or go on; the message says what, where and what to do."""


class DataError(HostError):
    """A data folder that cannot be used as it is."""


class NotInHost(HostError, AttributeError):
    """Something that LEAN has and the host has not; an AttributeError, so that `hasattr` answers as it should."""

    def __init__(self, name: str):
        super().__init__(f"{name} is part of LEAN but not of this embedded host: run `lean backtest .` instead")


class AlgorithmError(Exception):
    """An exception out of the algorithm's own code; text is LEAN's wording of it."""

    def __init__(self, text: str):
        super().__init__(text)
        self.text = text
