"""Sentences with gaps, in two families of different wording: one to teach with, one to measure with.

The gaps: {w} an adjective, {a} the same with its article, {o} one of the opposite polarity, {s} the subject, {v} a verb
of the adjective's polarity, {u} one of the opposite polarity, {f} neutral words between commas.
"""

from typing import NamedTuple


class Family(NamedTuple):
    """Wordings that share nothing with the other family.

    Attributes:
        subjects: what is spoken of.
        fillers: neutral words for the gap {f}.
        likes: verbs of a positive verdict, present tense.
        dislikes: verbs of a negative one.
        frames: sentences with gaps, by kind; the kinds are those of `TARGETS`.
    """

    subjects: tuple[str, ...]
    fillers: tuple[str, ...]
    likes: tuple[str, ...]
    dislikes: tuple[str, ...]
    frames: dict[str, tuple[str, ...]]


TARGETS = {
    "plain": (0.95, 0.05),
    "negated": (0.1, 0.75),
    "negated over a filler": (0.1, 0.75),
    "negator that does not negate": (0.9, 0.1),
    "expected, and was not": (0.1, 0.8),
    "expected, and was": (0.95, 0.05),
    "answer no": (0.1, 0.75),
    "answer yes": (0.95, 0.05),
    "once, but not now": (0.1, 0.9),
    "once, and still": (0.95, 0.05),
    "others, but not I": (0.1, 0.9),
    "no verdict": (0.5, 0.5),
}
"""P(positive) to teach for a frame of each kind, with a positive and with a negative word. "Not bad" is not praise:
its target is soft, and to be read as not negative is enough."""

TRAINING = Family(
    subjects=("film", "story", "script", "ending", "performance", "soundtrack", "book", "show", "hotel", "camera"),
    fillers=(
        "as far as I could follow it",
        "all things considered",
        "whatever the posters say",
        "in the version that I saw",
        "after three visits",
        "since it ran for two hours",
        "for a story about a family",
        "to tell the truth",
        "now that a year has gone by",
        "with all the people in it",
    ),
    likes=("like", "enjoy", "adore", "admire"),
    dislikes=("hate", "loathe", "detest"),
    frames={
        "plain": (
            "The {s} was {w}.",
            "This is {a} {s}.",
            "I found the {s} {w}.",
            "What {a} {s}!",
            "The {s} is simply {w}, from beginning to end.",
            "I {v} this {s}.",
            "{a} {s}, all in all.",
        ),
        "negated": (
            "The {s} was not {w}.",
            "The {s} isn't {w}.",
            "It was never {w}.",
            "This is hardly {a} {s}.",
            "There was nothing {w} about the {s}.",
            "I didn't find the {s} {w}.",
            "By no means {a} {s}.",
            "This wasn't {a} {s}.",
            "Nobody could call this {s} {w}.",
            "The {s} is far from {w}.",
            "I don't think the {s} was {w}.",
            "It isn't all that {w}.",
            "Not {w}.",
            "Not {a} {s}.",
            "Neither the {s} nor the rest was {w}.",
            "I do not {v} this {s}.",
            "I couldn't {v} it.",
        ),
        "negated over a filler": (
            "This wasn't, {f}, {a} {s}.",
            "The {s} was not, {f}, {w}.",
            "I don't think, {f}, that the {s} was {w}.",
            "I couldn't claim, {f}, that it was {a} {s}.",
            "Nobody, {f}, could call this {w}.",
            "The {s} isn't, {f}, what I call {w}.",
            "Never, {f}, was it {w}.",
            "I do not, {f}, {v} this {s}.",
        ),
        "negator that does not negate": (
            "There is no doubt that the {s} was {w}.",
            "I have never seen such {a} {s}.",
            "Nobody can deny that it was {w}.",
            "The {s} could not be more {w}.",
            "Not only the {s} was {w}, so was the rest.",
            "I cannot get over how {w} the {s} was.",
            "It was {w} and I don't say that often.",
        ),
        "expected, and was not": (
            "I expected the {s} to be {w} and it wasn't.",
            "I believed it would be {a} {s}, and it turned out the opposite.",
            "They said the {s} was {w}. It was not.",
            "The trailer looked {w}; the {s} is anything but.",
            "I was sure that I would {v} it, but I did not.",
            "We were told to expect {a} {s} and got the contrary.",
        ),
        "expected, and was": (
            "I expected the {s} to be {w} and it was.",
            "I believed it would be {a} {s}, and I was right.",
            "They said the {s} was {w}. It was.",
            "The trailer looked {w}; so does the {s}.",
            "I was sure that I would {v} it, and I did.",
        ),
        "answer no": (
            "Is the {s} {w}? No.",
            "Was it {a} {s}? Not at all.",
            "Did I {v} it? No, I did not.",
            "{a} {s}? Hardly.",
            "Would I call the {s} {w}? Never.",
        ),
        "answer yes": (
            "Is the {s} {w}? Yes.",
            "Was it {a} {s}? Absolutely.",
            "Did I {v} it? Yes, I did.",
            "{a} {s}? Of course.",
            "Would I call the {s} {w}? Always.",
        ),
        "once, but not now": (
            "I used to think the {s} was {w}, but today I know better.",
            "I once called it {a} {s}. How wrong I was.",
            "At first I found it {w}. Then I changed my mind.",
            "Years ago I found the {s} {w}, today I find it {o}.",
            "I used to {v} this {s}, but these days I {u} it.",
        ),
        "once, and still": (
            "I used to think the {s} was {w}, and I still do.",
            "I once called it {a} {s}. How right I was.",
            "Years ago I found the {s} {w}, and today I find it just as {w}.",
            "I used to {v} this {s}, and these days I {v} it even more.",
        ),
        "others, but not I": (
            "My friends called the {s} {w}, but I disagree.",
            "Critics may find it {w}; I find it {o}.",
            "Some people {v} this {s}. I {u} it.",
            "Everybody told me that it was {a} {s}. They were wrong.",
        ),
        "no verdict": (
            "Somebody asked me whether the {s} was {w}.",
            "I have yet to find out whether this can be {a} {s}.",
            "We talked about what makes {a} {s}.",
            "Half of the audience called it {w}, half of it {o}.",
        ),
    },
)

HELD_OUT = Family(
    subjects=("movie", "plot", "picture", "episode", "cast", "restaurant", "phone", "album"),
    fillers=(
        "given what I have seen",
        "considering when it came out",
        "in my humble view",
        "having been there twice",
        "if I may speak for all of us",
        "coming from these makers",
        "at least from where I sat",
        "on a rainy Tuesday",
    ),
    likes=("love", "appreciate", "recommend"),
    dislikes=("dislike", "despise"),
    frames={
        "plain": (
            "It is {a} {s}.",
            "The {s} seems {w} to me.",
            "My verdict on the {s}: {w}.",
            "I {v} the {s}.",
        ),
        "negated": (
            "The {s} is not {w}.",
            "It isn't {a} {s}.",
            "The {s} wasn't {w} at all.",
            "That was no {w} {s}.",
            "I would not call the {s} {w}.",
            "The {s} never gets {w}.",
            "In no way is it {w}.",
            "It doesn't seem {w} to me.",
            "I didn't {v} the {s}.",
        ),
        "negated over a filler": (
            "It is not, {f}, {a} {s}.",
            "I would not say, {f}, that the {s} is {w}.",
            "The {s} didn't seem, {f}, to be {w}.",
            "We can't, {f}, speak of {a} {s}.",
            "It never is, {f}, {w}.",
        ),
        "negator that does not negate": (
            "No one would dispute that the {s} is {w}.",
            "Without a doubt {a} {s}.",
            "I have not come across {a} {s} like it in years.",
            "Don't let them tell you that it isn't {w}.",
            "I would never have guessed how {w} it is.",
        ),
        "expected, and was not": (
            "I thought the {s} would be {w}, but it was not.",
            "I was expecting {a} {s} and got quite the reverse.",
            "All I had read made me think it was going to be {w}. It isn't.",
            "You would guess from the cover that it is {w}, which it is not.",
            "I had prepared myself for {a} {s}; I was mistaken.",
        ),
        "expected, and was": (
            "I thought the {s} would be {w}, and so it is.",
            "I was expecting {a} {s} and got one.",
            "You would guess from the cover that it is {w}, which it is.",
            "I had prepared myself for {a} {s}; I was not mistaken.",
        ),
        "answer no": (
            "Do I think the {s} is {w}? No.",
            "Do I {v} the {s}? I don't.",
            "Should you expect {a} {s}? You should not.",
            "Did it seem {w} to me? No, it didn't.",
        ),
        "answer yes": (
            "Do I think the {s} is {w}? Yes.",
            "Do I {v} the {s}? I do.",
            "Should you expect {a} {s}? You should.",
            "Did it seem {w} to me? Yes, it did.",
        ),
        "once, but not now": (
            "I used to think it was {w}, now I think it is {o}.",
            "When I was younger the {s} seemed {w}; now it seems {o}.",
            "I used to {v} the {s}, although now I {u} it.",
            "I used to say that it is {a} {s}. I no longer say so.",
        ),
        "once, and still": (
            "I have always thought that the {s} is {w}, and nothing has changed that.",
            "When I was younger it seemed {w}; to me it seems {w} still.",
            "I used to {v} the {s}, and I {v} it to this day.",
        ),
        "others, but not I": (
            "My brother thinks it is {a} {s}. I think it is {o}.",
            "Others say the {s} is {w}, yet to me it is {o}.",
            "You may {v} the {s}, but I {u} it.",
        ),
        "no verdict": (
            "I can't tell you yet if the {s} is {w}.",
            "She wrote a paper on how to tell {a} {s} from {o} ones.",
            "The question is whether it will be {w} or {o}.",
        ),
    },
)
