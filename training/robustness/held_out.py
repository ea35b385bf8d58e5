"""Sentences with gaps to measure with: they share no wording with those that teach."""

from training.robustness.frames import Family

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
