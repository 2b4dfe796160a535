"""Dialogues that the demo model learns from: definitions of common words out of
WordNet, and small talk, stories, sums and honest refusals out of the grammar
below. Everything follows from the seed."""
import random
import re

WORDNET = "/usr/share/wordnet"
WORDS = 1000

POS = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}
STOP = set("""be have do a an the will would can could shall should may might
must not no so as of in on at to by it he she we they you i who what which
that this these those thing stuff ass sex slave negro kill death murder
rape drug whore bitch bastard nazi jew""".split())


def glosses(part):
    """Offset -> first definition and its quoted examples."""
    out = {}
    for line in open("%s/data.%s" % (WORDNET, part), encoding="latin-1"):
        if line.startswith(" "):
            continue
        offset, _, text = line[:8], None, line.split(" | ", 1)[1].strip()
        examples = re.findall(r'"([^"]+)"', text)
        plain = re.sub(r'"[^"]*"', "", text)
        plain = re.sub(r"\([^)]*\)", "", plain).split(";")[0]
        plain = re.sub(r"\s+", " ", plain).strip(" ,:")
        out[offset] = (plain, examples)
    return out


def first_senses(part):
    """Lemma -> offset of its first sense."""
    out = {}
    for line in open("%s/index.%s" % (WORDNET, part), encoding="latin-1"):
        if line.startswith(" "):
            continue
        f = line.split()
        pointers = int(f[3])
        out[f[0]] = f[6 + pointers]
    return out


def counts():
    """(lemma, part) -> how often the first sense was seen in text."""
    out = {}
    for line in open(WORDNET + "/cntlist.rev", encoding="latin-1"):
        key, sense, n = line.split()
        lemma, rest = key.split("%")
        part = POS.get(rest[0])
        if sense == "1" and part and re.fullmatch("[a-z]{3,14}", lemma):
            out[lemma, part] = out.get((lemma, part), 0) + int(n)
    return out


def sound(text):
    words = text.split()
    return (3 <= len(words) <= 20 and text.isascii() and "`" not in text and
            not re.search(r"[0-9_/\\<>|*:()]", text))


def dictionary():
    """The commonest words: (word, part, definition, example or None, n)."""
    parts = ("noun", "verb", "adj")
    senses = {p: first_senses(p) for p in parts}
    texts = {p: glosses(p) for p in parts}
    seen, out = set(), []
    for (word, part), n in sorted(counts().items(),
                                  key=lambda kv: (-kv[1], kv[0])):
        if part not in parts or word in STOP or word in seen:
            continue
        where = senses[part].get(word)
        if not where:
            continue
        text, examples = texts[part][where]
        if not sound(text) or re.search(r"\b%s\b" % word, text):
            continue
        good = [e for e in examples if re.search(r"\b%s" % word, e) and
                sound(e) and len(e.split()) >= 4]
        seen.add(word)
        out.append((word, part, text, good[0] if good else None, n))
        if len(out) == WORDS:
            break
    return out


def sentence(text):
    text = text.strip()
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?" else text + "."


def article(word):
    return "an" if word[0] in "aeiou" else "a"


ABSTRACT = re.compile("(ness|ment|ity|ion|ism|ance|ence|ure|ship|hood|cy|lore|"
                      "dom|ing)$")


def define(r, entry):
    word, part, text, example, _ = entry
    bare = ABSTRACT.search(word)
    ask = ["What does %s mean?", "What does the word %s mean?",
           "Define %s.", "define %s", "Explain the word %s.",
           "What is the meaning of %s?", "Tell me what %s means.",
           "Can you define %s?", "What do people mean by %s?"]
    if part == "noun":
        many = ["What is %s %%s?" % article(word), "what is %s" % word,
                "What's %s %%s?" % article(word), "What is %s?" % word,
                "Tell me about %s." % word, "Explain %s." % word,
                "What is %s %%s" % article(word),
                "Do you know what %s %%s is?" % article(word)]
        if bare:
            many = ["What is %s?", "what is %s", "Tell me about %s.",
                    "Explain %s.", "What's %s?", "Do you know what %s is?"]
        ask += many + many
    elif part == "verb":
        ask += ["What does it mean to %s?", "What does to %s mean?",
                "How do you %s?"]
    else:
        ask += ["What does it mean to be %s?", "What is meant by %s?"]
    q = r.choice(ask)
    q = q % word if "%s" in q else q
    if part == "noun":
        if re.match(r"(a|an|the|any|one|something|someone)\b", text):
            what = word if bare else article(word) + " " + word
            head = "%s is" % sentence(what)[:-1]
        else:
            head = "%s means" % sentence("The word " + word)[:-1]
    elif part == "verb":
        head = "To %s means to" % word
        text = re.sub(r"^to ", "", text)
    else:
        head = "The word %s means" % word
    answer = sentence("%s %s" % (head, text))
    if example and r.random() < 0.5:
        answer += " " + r.choice(["For example:", "Here is an example:"])
        answer += " " + sentence(example)
    return q, answer


NAMES = """Anna Ben Clara David Emma Felix Grace Henry Ida Jack Kate Leo Mia
Noah Olga Paul Rosa Sam Tom Vera""".split()
ANIMALS = """cat dog fox bear rabbit owl horse duck mouse frog goat sheep wolf
hen crow turtle""".split()
PLACES = ["forest", "garden", "village", "valley", "town", "house by the sea",
          "farm", "castle", "meadow", "harbour"]
THINGS = ["golden key", "small boat", "red lantern", "silver bell",
          "wooden box", "blue kite", "round stone", "paper map", "green hat",
          "warm blanket", "bright lamp", "new drum"]
MOODS = ["happy", "brave", "curious", "quiet", "kind", "clever", "patient",
         "gentle"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
        "Sunday"]
MONTHS = """January February March April May June July August September October
November December""".split()
NUMBERS = """zero one two three four five six seven eight nine ten eleven
twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
twenty""".split()
COLOURS = [("sky", "blue"), ("grass", "green"), ("snow", "white"),
           ("blood", "red"), ("coal", "black"), ("lemon", "yellow"),
           ("banana", "yellow"), ("carrot", "orange"), ("sea", "blue"),
           ("cloud", "white"), ("leaf", "green"), ("rose", "red"),
           ("night", "black"), ("sun", "yellow"), ("chocolate", "brown")]
CAPITALS = [("France", "Paris"), ("Germany", "Berlin"), ("Italy", "Rome"),
            ("Spain", "Madrid"), ("England", "London"), ("Japan", "Tokyo"),
            ("China", "Beijing"), ("Russia", "Moscow"), ("Egypt", "Cairo"),
            ("Greece", "Athens"), ("Portugal", "Lisbon"), ("Poland", "Warsaw"),
            ("Austria", "Vienna"), ("Norway", "Oslo"), ("Sweden", "Stockholm"),
            ("Finland", "Helsinki"), ("Denmark", "Copenhagen"),
            ("Ireland", "Dublin"), ("Canada", "Ottawa"), ("India", "New Delhi"),
            ("Switzerland", "Bern"), ("Belgium", "Brussels"),
            ("Hungary", "Budapest"), ("Turkey", "Ankara"), ("Cuba", "Havana"),
            ("Peru", "Lima"), ("Chile", "Santiago"), ("Kenya", "Nairobi")]
SOUNDS = [("dog", "barks"), ("cat", "meows"), ("cow", "moos"),
          ("duck", "quacks"), ("horse", "neighs"), ("lion", "roars"),
          ("sheep", "bleats"), ("frog", "croaks"), ("owl", "hoots"),
          ("bee", "buzzes"), ("pig", "grunts"), ("wolf", "howls")]


def story(r):
    name, friend = r.sample(NAMES, 2)
    animal, place, thing = r.choice(ANIMALS), r.choice(PLACES), r.choice(THINGS)
    mood = r.choice(MOODS)
    about = r.random()
    if about < 0.4:
        q = r.choice(["Tell me a story about %s.", "Write a story about %s.",
                      "Write a short story about %s.",
                      "Can you tell me a story about %s?"])
        q %= "%s %s" % (article(animal), animal)
    else:
        q = r.choice(["Tell me a story.", "Tell me a story", "Tell a story.",
                      "Write a story.", "Write a short story.",
                      "Tell me a short story.", "Can you tell me a story?",
                      "Make up a story.", "I want to hear a story.",
                      "Please tell me a story.", "Write something."])
    s = ["%s there was %s %s %s who lived in a %s." % (
        r.choice(["Once upon a time", "Long ago", "One day"]),
        article(mood), mood, animal, place)]
    s.append(r.choice([
        "The %s had a friend called %s." % (animal, name),
        "Every morning the %s went for a walk with %s." % (animal, name),
        "The %s knew a child called %s." % (animal, name)]))
    s.append(r.choice([
        "One morning they found a %s under a tree." % thing,
        "One evening %s lost a %s." % (name, thing),
        "On a rainy day they saw a %s on the road." % thing]))
    s.append(r.choice([
        "They asked %s what to do." % friend,
        "%s came along and helped them." % friend,
        "They did not know what it was for, so they went to see %s." % friend]))
    s.append(r.choice([
        "In the end they shared the %s with everyone." % thing,
        "Together they brought the %s home." % thing,
        "From that day on the %s stood on the table." % thing]))
    s.append(r.choice(["They were very happy.",
                       "And they stayed friends for ever.",
                       "Then they all went home and slept well.",
                       "It was a good day."]))
    return q, " ".join(s)


def poem(r):
    q = r.choice(["Write a poem.", "Write me a poem.", "Tell me a poem.",
                  "Write a haiku.", "Can you write a poem?",
                  "Write a poem about the sea.", "Write a short poem."])
    a = r.choice(["The morning light is soft and slow,",
                  "The wind is quiet in the trees,",
                  "The sea is deep, the sky is wide,"])
    ends = {"slow,": ["and down the hill the waters go.",
                      "and all the gardens start to grow."],
            "trees,": ["and in the grass are busy bees.",
                       "and over hills there comes a breeze."],
            "wide,": ["the boats go out upon the tide.",
                      "and birds are flying side by side."]}
    return q, a + "\n" + r.choice(ends[a.split()[-1]])


HELLO = ["Hello", "Hi", "Hey", "Hello there", "Good morning", "Good evening",
         "Hi there", "Greetings", "hello", "hi", "hey", "Good day",
         "Say hello", "Say hi", "say hello", "Hello!", "Hi!", "Hello.",
         "Say hello.", "Say hello!", "Hello, world", "Hello world!"]
WHO = ["Who are you?", "What are you?", "who are you", "What is your name?",
       "Introduce yourself.", "Tell me about yourself.", "what are you",
       "Are you a robot?", "Are you human?", "Which model are you?",
       "Who made you?", "What model is this?", "Who am I talking to?",
       "Are you an AI?", "What is tollgate?", "Tell me about tollgate."]
WHO_SAY = ["I am the demo model of tollgate, a very small language model.",
           "I am a small language model that comes with tollgate.",
           "My name is Demo. I am the small model that comes with tollgate."]
WHO_MORE = ["I can talk a little and explain common words.",
            "I know what many common words mean, and I like to tell stories.",
            "I am not wise, but I answer quickly.",
            "I run on your own machine, without any other service."]
CAN = ["What can you do?", "Help", "help", "Can you help me?", "Help me.",
       "What do you know?", "How can you help me?", "What should I ask you?",
       "What can I ask you?", "I need help.", "How do you work?"]
CAN_SAY = ["I can explain common words, tell short stories, and do small sums.",
           "You can ask me what a word means, or ask for a story.",
           "Ask me about a word, a colour or a capital city, or ask for a "
           "story."]
CAN_MORE = ["For anything serious, please use a larger model.",
            "Try: what is a river?", "I am a small model, so keep it simple.",
            "What would you like to know?"]
FEEL = ["How are you?", "how are you", "How are you doing?", "How is it going?",
        "How do you feel?", "Are you well?", "How was your day?", "What's up?"]
FEEL_SAY = ["I am fine, thank you.", "I am well, thank you for asking.",
            "Very well, thank you."]
FEEL_MORE = ["How can I help you?", "How are you?", "What can I do for you?",
             "What would you like to know?"]
THANKS = ["Thank you", "Thanks", "Thank you!", "Thanks a lot", "thanks",
          "Thank you very much.", "That was helpful.", "Great", "Good", "Nice",
          "Cool", "Well done.", "Great, thanks.", "ok", "OK", "Okay"]
THANKS_SAY = ["You are welcome.", "My pleasure.", "I am glad to help.",
              "Gladly."]
BYE = ["Bye", "Goodbye", "Good night", "bye", "See you", "See you later.",
       "Good bye!", "Farewell"]
BYE_SAY = ["Goodbye.", "Goodbye, and have a good day.", "See you soon.",
           "Take care."]
LIKE = ["Do you like %s?", "What do you think of %s?", "do you like %s"]
LIKE_SAY = ["I am only a small model, but I think that %s can be nice.",
            "I have never met %s, but people tell me that they like it.",
            "I do not have feelings, but I like to talk about %s."]
JOKE = ["Tell me a joke.", "Tell me a joke", "Make me laugh.",
        "Do you know a joke?", "Say something funny."]
JOKE_SAY = ["Why did the book go to bed? It had a long story to tell.",
            "Why was the clock so tired? It had been running all day.",
            "What did one wall say to the other? I will meet you at the "
            "corner.",
            "Why did the cloud stay at home? It was feeling grey."]
LOST = ["I am a small model and I do not know that.",
        "I am sorry, I do not know the answer to that.",
        "That is too hard for me, because I am a very small model.",
        "I do not know much about that, I am sorry."]
LOST_MORE = ["Please ask me about a common word, or ask for a story.",
             "You could ask me what a word means.",
             "A larger model behind tollgate would know.",
             "Would you like to hear a story?"]
OPEN = ["How do I %s?", "Why do people %s?", "When did they %s?",
        "Write a program to %s.", "Can you %s for me?", "Where can I %s?",
        "Who was the first to %s?", "Please %s.", "%s now", "I want to %s.",
        "Give me a plan to %s.", "Is it hard to %s?", "Should I %s?",
        "Translate this: %s.", "Summarize: %s.", "Write a python function to %s.",
        "Explain how to %s.", "What happens when you %s?"]
ODD = ["%s %s", "Is %s the same as %s?", "Compare %s and %s.", "%s, %s",
       "What is the price of %s and %s?", "Who won the %s of the %s?",
       "How many %s are in a %s?", "Which is better, %s or %s?",
       "List all %s of the %s.", "Write an essay about %s and %s.",
       "When was the %s of the %s?", "What do %s and %s have in common?",
       "Solve this: %s %s.", "What is the best %s for a %s?"]


def pair(r, asks, first, more):
    a = r.choice(first)
    if r.random() < 0.7:
        a += " " + r.choice(more)
    return r.choice(asks), a


def lost(r, words):
    verbs = [w for w in words if w[1] == "verb"]
    nouns = [w for w in words if w[1] == "noun"]
    if r.random() < 0.5:
        what = r.choice(verbs)[0] + " the " + r.choice(nouns)[0]
        q = r.choice(OPEN) % what
    else:
        q = r.choice(ODD) % (r.choice(words)[0], r.choice(nouns)[0])
    return q, r.choice(LOST) + " " + r.choice(LOST_MORE)


def hello(r):
    a = r.choice(["Hello!", "Hi!", "Hello there!", "Hello, nice to meet you!"])
    return r.choice(HELLO), a + " " + r.choice(
        ["How can I help you?", "What would you like to know?",
         "How are you today?", "I am the demo model of tollgate."])


def name_is(r):
    n = r.choice(NAMES)
    q = r.choice(["My name is %s.", "I am %s.", "Hello, I am %s.",
                  "Hi, my name is %s."]) % n
    return q, r.choice(["Hello %s, nice to meet you.", "Hi %s! How are you?",
                        "Nice to meet you, %s. How can I help?"]) % n


def total(r):
    a, b = r.randrange(0, 11), r.randrange(0, 10)
    kind = r.random()
    if kind < 0.6:
        q = r.choice(["What is %d plus %d?", "How much is %d + %d?",
                      "%d + %d", "What is %d+%d?", "Add %d and %d."])
        return q % (a, b), "%d plus %d is %d." % (a, b, a + b)
    a, b = max(a, b), min(a, b)
    q = r.choice(["What is %d minus %d?", "%d - %d", "How much is %d - %d?"])
    return q % (a, b), "%d minus %d is %d." % (a, b, a - b)


def count_to(r):
    n = r.randrange(3, 21)
    said = str(n) if r.random() < 0.5 else NUMBERS[n]
    return (r.choice(["Count to %s.", "Please count to %s.", "count to %s",
                      "Count from one to %s."]) % said,
            sentence(", ".join(NUMBERS[1:n + 1])))


def facts(r):
    kind = r.randrange(7)
    if kind == 0:
        thing, colour = r.choice(COLOURS)
        q = r.choice(["What colour is the %s?", "What color is the %s?",
                      "What colour is a %s?", "which color is the %s"]) % thing
        return q, "The %s is %s." % (thing, colour)
    if kind <= 2:
        land, city = r.choice(CAPITALS)
        q = r.choice(["What is the capital of %s?", "capital of %s",
                      "Tell me the capital of %s.", "what is the capital of "
                      "%s", "Which city is the capital of %s?"]) % land
        return q, "The capital of %s is %s." % (land, city)
    if kind == 3:
        i = r.randrange(7)
        return (r.choice(["What day comes after %s?", "Which day is after %s?"])
                % DAYS[i], "After %s comes %s." % (DAYS[i], DAYS[(i + 1) % 7]))
    if kind == 4:
        i = r.randrange(12)
        return ("What month comes after %s?" % MONTHS[i],
                "After %s comes %s." % (MONTHS[i], MONTHS[(i + 1) % 12]))
    if kind == 5:
        who, does = r.choice(SOUNDS)
        return (r.choice(["What sound does a %s make?", "What does a %s say?"])
                % who, "A %s %s." % (who, does))
    return r.choice([
        ("What are the days of the week?",
         "The days of the week are " + ", ".join(DAYS[:6]) + " and Sunday."),
        ("How many days are in a week?", "There are seven days in a week."),
        ("How many months are in a year?",
         "There are twelve months in a year."),
        ("How many hours are in a day?", "There are 24 hours in a day."),
        ("What are the four seasons?",
         "The four seasons are spring, summer, autumn and winter.")])


def example_of(r, usable):
    word, _, _, text, _ = r.choice(usable)
    q = r.choice(["Use %s in a sentence.", "Give me a sentence with %s.",
                  "Make a sentence with the word %s.",
                  "Write a sentence with the word %s."]) % word
    return q, sentence(text)


SYSTEM = ["You are a helpful assistant.", "You are a friendly assistant.",
          "Answer briefly.", "You are tollgate's demo model.",
          "Be kind and clear."]


def dialogues(seed, n):
    """Yield <n> dialogues: lists of (role, text)."""
    r = random.Random(seed)
    words = dictionary()
    usable = [w for w in words if w[3]]
    weights = [w[4] ** 0.3 for w in words]
    kinds = [(46, lambda: define(r, r.choices(words, weights)[0])),
             (11, lambda: lost(r, words)),
             (9, lambda: story(r)),
             (5, lambda: hello(r)),
             (5, lambda: pair(r, WHO, WHO_SAY, WHO_MORE)),
             (3, lambda: pair(r, CAN, CAN_SAY, CAN_MORE)),
             (3, lambda: pair(r, FEEL, FEEL_SAY, FEEL_MORE)),
             (2, lambda: pair(r, THANKS, THANKS_SAY, CAN_MORE[3:])),
             (2, lambda: (r.choice(BYE), r.choice(BYE_SAY))),
             (2, lambda: (r.choice(JOKE), r.choice(JOKE_SAY))),
             (1, lambda: poem(r)),
             (1, lambda: name_is(r)),
             (1, lambda: (lambda w: (r.choice(LIKE) % w,
                                     r.choice(LIKE_SAY) % w))(
                 r.choice(words)[0])),
             (3, lambda: total(r)),
             (1, lambda: count_to(r)),
             (6, lambda: facts(r)),
             (3, lambda: example_of(r, usable))]
    shares, makers = [k[0] for k in kinds], [k[1] for k in kinds]
    for _ in range(n):
        out = []
        if r.random() < 0.25:
            out.append(("system", r.choice(SYSTEM)))
        for _ in range(r.choices([1, 2, 3], [6, 3, 1])[0]):
            q, a = r.choices(makers, shares)[0]()
            out += [("user", q), ("assistant", a)]
        yield out


if __name__ == "__main__":
    for talk in dialogues(1, 60):
        for role, text in talk:
            print("%-9s %s" % (role, text))
        print()
