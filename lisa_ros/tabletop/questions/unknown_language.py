# SPDX-License-Identifier: Apache-2.0
"""Tables of what the embedded model must not answer with a mask: other languages, unknown nouns, other topics.

Each table has entries to learn from (False) and entries kept for evaluation (True).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """Requests with a slot, and what fills it."""

    requests: tuple[str, ...]
    nouns: tuple[str, ...]


LANGUAGES: dict[bool, tuple[Language, ...]] = {
    False: (
        Language(
            ("Wo ist {x}?", "Gib mir {x}.", "Zeig mir {x}", "Finde {x}."), ("die rote Tasse", "der Würfel", "das Buch")
        ),
        Language(
            ("Où est {x} ?", "Donne-moi {x}.", "Montre-moi {x}"), ("la tasse rouge", "le canard jaune", "la balle")
        ),
        Language(("¿Dónde está {x}?", "Dame {x}.", "Muéstrame {x}"), ("la taza roja", "el pato", "la pelota azul")),
        Language(("Dov'è {x}?", "Dammi {x}.", "Mostrami {x}"), ("la tazza rossa", "il libro", "la palla verde")),
        Language(("Waar is {x}?", "Geef me {x}."), ("de rode mok", "het boek", "de gele eend")),
        Language(("Gdzie jest {x}?", "Daj mi {x}."), ("czerwony kubek", "kaczka", "zielona piłka")),
        Language(("Kırmızı {x} nerede?", "Bana {x} ver."), ("fincan", "kitap", "top")),
        Language(("Var är {x}?", "Ge mig {x}."), ("den röda muggen", "boken", "bollen")),
        Language(("{x}在哪里？", "请给我{x}。", "找到{x}", "{x}"), ("红色的杯子", "黄色的鸭子", "书", "球", "瓶子")),
        Language(("{x}はどこですか？", "{x}を取ってください。"), ("赤いカップ", "本", "ボール")),
        Language(("{x} 어디에 있어요?", "{x} 주세요"), ("빨간 컵", "책", "공")),
        Language(("Где {x}?", "Дай мне {x}.", "Покажи {x}"), ("красная кружка", "книга", "жёлтая утка")),
        Language(("أين {x}؟", "أعطني {x}"), ("الكوب الأحمر", "الكتاب", "الكرة")),
        Language(("{x} कहाँ है?", "मुझे {x} दो"), ("लाल कप", "किताब", "गेंद")),
    ),
    True: (
        Language(("Onde está {x}?", "Dê-me {x}."), ("a caneca vermelha", "o livro", "a bola azul")),
        Language(("Kde je {x}?", "Dej mi {x}."), ("červený hrnek", "kniha", "míč")),
        Language(("Hvor er {x}?", "Giv mig {x}."), ("den røde kop", "bogen", "den gule and")),
        Language(("Де {x}?", "Дай мені {x}."), ("червона чашка", "м'яч")),
        Language(("Πού είναι {x};", "Δώσε μου {x}."), ("η κόκκινη κούπα", "το βιβλίο")),
        Language(("איפה {x}?", "תן לי את {x}"), ("הספל האדום", "הספר")),
        Language(("{x}在哪兒？", "請把{x}給我"), ("藍色的碗", "白色的盤子", "綠色的方塊")),
        Language(("{x}อยู่ที่ไหน", "ขอ{x}"), ("แก้วสีแดง", "หนังสือ")),
    ),
}

NOUNS: dict[bool, tuple[str, ...]] = {
    False: (
        *("banana", "apple", "laptop", "scissors", "hammer", "spoon", "fork", "knife", "chair", "lamp", "shoe", "hat"),
        *("keys", "phone", "clock", "pen", "pencil", "glasses", "candle", "flower", "toothbrush", "screwdriver", "bag"),
        *("dog", "car", "tree", "sock", "coin", "stapler", "mouse pad", "red apple", "blue pen", "wooden spoon"),
    ),
    True: (
        *(
            "orange juice carton",
            "keyboard",
            "wrench",
            "potato",
            "towel",
            "umbrella",
            "guitar",
            "wallet",
            "tape",
            "cat",
        ),
        *("remote control", "green pepper", "silver fork", "paintbrush"),
    ),
}
"""Objects that the simulation does not have."""

OFF_TOPIC: dict[bool, tuple[str, ...]] = {
    False: (
        "What is the weather like today?",
        "Tell me a joke.",
        "Who are you?",
        "What time is it?",
        "How are you?",
        "Sing a song.",
        "What is two plus two?",
        "Where do you live?",
        "Open the door.",
        "Drive to the kitchen.",
        "Call my mother.",
        "Thank you.",
        "Hello",
        "What did I say yesterday?",
        "Stop.",
        "Turn off the light.",
        "Why is the sky blue?",
        "I am tired.",
    ),
    True: (
        "What day is it?",
        "Good morning!",
        "Tell me a story.",
        "How old are you?",
        "Go home.",
        "What is your name?",
        "Do you like music?",
        "Play a song.",
    ),
}
"""English that asks for no object of the table."""
