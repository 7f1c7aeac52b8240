from dataclasses import dataclass
@dataclass(frozen=True)
class SharedPrompt:
    prefix: list[int]
    tails: list[list[int]]
