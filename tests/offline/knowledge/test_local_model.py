from pathlib import Path

import pytest

from model_store.errors import ConfigError
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.generation import generate_knowledge
from offline.knowledge.language_model import Sampling
from offline.knowledge.local_model import LocalModel, open_local_model
from offline.knowledge.prompt import Prompt
from tests.offline.knowledge.stand_ins import make_tiny_llama, texts_of
from tests.offline.knowledge.tiny_gguf import make_llama, write_gguf

GREEDY = Sampling(max_new_tokens=10, temperature=0.0, repetition_penalty=1.0, seed=0)
PROMPTS = [
    Prompt("what is this film about ?", "this film is"),
    Prompt("title : toy story , genres : animation , comedy . who likes this ?", "people who"),
    Prompt("war ?", "a"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def model(folder: Path) -> LocalModel:
    return open_local_model(str(folder), folder, batch_size=8, device="cpu")


def test_answers_in_a_batch_equal_answers_alone(model: LocalModel) -> None:
    together = model.generate(PROMPTS, GREEDY)
    alone = [model.generate([prompt], GREEDY)[0] for prompt in PROMPTS]
    assert together == alone
    assert len({answer.text for answer in together}) == len(PROMPTS)


def test_an_answer_starts_with_the_words_it_was_begun_with(model: LocalModel) -> None:
    for answer, prompt in zip(model.generate(PROMPTS, GREEDY), PROMPTS, strict=True):
        assert answer.text.startswith(prompt.answer_begins)
        assert 0 <= answer.n_tokens <= GREEDY.max_new_tokens


def test_a_seed_gives_the_same_sample_and_another_seed_another(model: LocalModel) -> None:
    def sample(seed: int) -> list[str]:
        sampling = Sampling(10, temperature=1.5, repetition_penalty=1.0, seed=seed)
        return [answer.text for answer in model.generate(PROMPTS, sampling)]

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


def test_a_repetition_penalty_makes_an_answer_more_varied(model: LocalModel) -> None:
    def distinct_words(penalty: float) -> int:
        sampling = Sampling(40, temperature=0.0, repetition_penalty=penalty, seed=0)
        return sum(len(set(a.text.split())) for a in model.generate(PROMPTS, sampling))

    assert distinct_words(2.0) > distinct_words(1.0)


def test_the_penalty_leaves_the_prompt_alone(model: LocalModel) -> None:
    # Saying a word of the prompt for the first time costs nothing: one token is as without it.
    penalised = Sampling(1, temperature=0.0, repetition_penalty=2.0, seed=0)
    plain = Sampling(1, temperature=0.0, repetition_penalty=1.0, seed=0)
    assert model.generate(PROMPTS, penalised) == model.generate(PROMPTS, plain)


def test_generation_with_a_real_model_fills_every_item(folder: Path, tmp_path: Path) -> None:
    # Random weights talk nonsense without full stops; the test is that nothing gets lost.
    config = KnowledgeConfig(
        model=str(folder),
        max_new_tokens=16,
        batch_size=3,
        retries=1,
        device="cpu",
    )
    texts = texts_of("toy story", "war", "children of war", "toy story", "romance")
    knowledge, report = generate_knowledge(texts, config, tmp_path)
    assert len(knowledge.texts) == 5
    assert report.generated + sum(report.without_knowledge.values()) == report.n_texts == 4
    assert report.tokens > 0
    assert generate_knowledge(texts, config, tmp_path)[0] == knowledge


def test_a_text_that_is_too_long_for_the_model_is_cut(model: LocalModel) -> None:
    item = "war " * 600  # the model has 256 positions
    prompt = Prompt(f"what is this film about ? {item} who likes this ?", "people who", item)
    short, long = model.generate([PROMPTS[0], prompt], GREEDY)
    assert (short.was_cut, long.was_cut) == (False, True)
    fitting = prompt.shortened(4 * 100)
    assert model.generate([fitting], GREEDY)[0].was_cut is False
    assert long.text.startswith("people who")


def test_a_gguf_file_is_the_model_that_it_was_written_from(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """transformers reads it by tables of names that may move between its versions."""
    written = make_llama()
    write_gguf(written, tmp_path / "tiny.gguf")
    read = open_local_model(str(tmp_path / "tiny.gguf"), tmp_path, batch_size=4, device="cpu")
    said = capfd.readouterr().err
    assert "reading the language model: 100%" in said
    assert "\r" not in said  # no terminal: nothing is redrawn
    prompts = [Prompt("abcd ab", "cd"), Prompt("hgf", ""), Prompt("abcd", "ab ab")]
    answers = read.generate(prompts, GREEDY)
    assert answers == LocalModel("written", written, read._tokenizer, 4).generate(prompts, GREEDY)
    assert len({answer.text for answer in answers}) == len(prompts)
    assert read._tokenizer.tokenize("abcd ab") == ["abcd", "Ġ", "ab"]


@pytest.mark.parametrize("name", ["missing/folder/of/mine", "missing.gguf"])
def test_a_model_that_isnt_there_is_one_clear_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        open_local_model(str(tmp_path / name), tmp_path, batch_size=1, device="cpu")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
