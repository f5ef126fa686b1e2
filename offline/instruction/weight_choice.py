"""Choices that a reranker needs beside its model, made on validation (Llama4Rec 5.1.5).

The weights alpha_1 and alpha_2 are those with the highest NDCG@10. Only cases whose target is among
the candidates are asked: the rank of any other target does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from model_store.aggregation import Weighting, aggregate
from model_store.rerank_prompt import PromptLayout, presentation_order
from offline.data.split import Cases
from offline.instruction.label_scorer import Float32, LabelScorer
from offline.instruction.questions import Question, Questioner
from offline.metrics import ndcg_at_k
from offline.progress import Progress

ALPHAS = (0.1, 0.3, 0.5, 0.7, 0.9)
_AT_A_TIME = 16


@dataclass(frozen=True)
class Judgement:
    """A case whose target is among the candidates, with the language model's opinion.

    Attributes:
        case: its row among the cases.
        n_interactions: before the target, N_u.
        target: position of the target in the recommender's order, from 0.
        scores: float32 [k'] of the candidates, in the recommender's order.
        shown: position in the recommender's order of the candidate with each label.
    """

    case: int
    n_interactions: int
    target: int
    scores: Float32
    shown: tuple[int, ...]

    def rank(self, weight: float) -> int:
        """Rank of the target by both rankings, from 1."""
        return int(np.flatnonzero(aggregate(self.scores, weight) == self.target)[0]) + 1

    def without(self, bias: Sequence[float]) -> Judgement:
        """The same with the labels' bias subtracted."""
        scores = self.scores.copy()
        scores[list(self.shown)] -= np.array(bias[: len(scores)], dtype=np.float32)
        return replace(self, scores=scores)


@dataclass(frozen=True)
class Calibration:
    """Chosen weights, and NDCG@10 on validation over all cases.

    Attributes:
        alpha_1: 0 where the language model helps with no weight.
        alpha_2: cut-off.
        label_bias: mean log-probability of each label, less the mean of all.
        base: NDCG@10 of the recommender.
        reranked: NDCG@10 with these weights.
        n_cases: all cases.
        n_asked: those whose target is among the candidates.
    """

    alpha_1: float
    alpha_2: float
    label_bias: tuple[float, ...]
    base: float
    reranked: float
    n_cases: int
    n_asked: int


def judge(
    questioner: Questioner,
    scorer: LabelScorer,
    cases: Cases,
    layout: PromptLayout,
    titles: Sequence[str],
) -> list[Judgement]:
    """Ask a language model about all cases whose target is among the recommender's candidates.

    Args:
        questioner: of the recommender.
        scorer: the language model.
        cases: validation cases.
        layout: of the prompts.
        titles: of all items, row i that of item_index i + 1.
    """
    asked = _find_asked(questioner, cases)
    judgements: list[Judgement] = []
    with Progress("asking the language model", len(asked), "case") as progress:
        for start in range(0, len(asked), _AT_A_TIME):
            part = asked[start : start + _AT_A_TIME]
            shown = [presentation_order(one.history, one.candidates) for _, one in part]
            prompts = [
                one.listwise(layout, titles, order)
                for (_, one), order in zip(part, shown, strict=True)
            ]
            of_labels = scorer.scores(prompts, [len(order) for order in shown])
            for (row, one), order, label_scores in zip(part, shown, of_labels, strict=True):
                scores = np.empty(len(order), dtype=np.float32)
                scores[order] = label_scores
                target = one.candidates.index(int(cases.targets[row]))
                judgements.append(
                    Judgement(row, len(cases.history(row)), target, scores, tuple(order))
                )
            progress.advance(len(part))
    return judgements


def _find_asked(questioner: Questioner, cases: Cases) -> list[tuple[int, Question]]:
    """The cases, by row, whose target is among two candidates or more."""
    rows = [row for row in range(len(cases)) if len(cases.history(row))]
    questions = questioner.ask(cases.users[rows], [cases.history(row) for row in rows])
    return [
        (row, question)
        for row, question in zip(rows, questions, strict=True)
        if len(question.candidates) > 1 and int(cases.targets[row]) in question.candidates
    ]


def calibrate(
    judgements: Sequence[Judgement],
    counts: Sequence[int],
    base_ranks: npt.NDArray[np.int64],
    n_candidates: int,
) -> Calibration:
    """Choose the labels' bias and the weights.

    Args:
        judgements: of the cases whose target is among the candidates.
        counts: interactions of each user, for the long-tail coefficients.
        base_ranks: of every case's target by the recommender, int64 [C].
        n_candidates: k' of the layout.
    """
    bias = measure_label_bias(judgements, n_candidates)
    judged = [one.without(bias) for one in judgements]
    others = np.delete(base_ranks, [one.case for one in judged])  # these ranks don't change

    def ndcg(alpha_1: float, alpha_2: float) -> float:
        weighting = Weighting.of_users(counts, alpha_1, alpha_2)
        ranks = [one.rank(weighting.weight(one.n_interactions)) for one in judged]
        return ndcg_at_k(np.concatenate([others, np.array(ranks, dtype=np.int64)]))

    base = ndcg(0.0, ALPHAS[0])
    best = (base, 0.0, ALPHAS[0])
    for alpha_1 in ALPHAS:
        for alpha_2 in ALPHAS:
            found = ndcg(alpha_1, alpha_2)
            if found > best[0] + 1e-12:  # a smaller weight wins a tie
                best = (found, alpha_1, alpha_2)
    return Calibration(
        alpha_1=best[1],
        alpha_2=best[2],
        label_bias=bias,
        base=base,
        reranked=best[0],
        n_cases=len(others) + len(judged),
        n_asked=len(judged),
    )


def measure_label_bias(judgements: Sequence[Judgement], n_candidates: int) -> tuple[float, ...]:
    """Mean log-probability of each label, less the mean of all labels; [k'].

    Candidates are shown in an order without meaning, so a label that is preferred over many prompts
    is preferred for its own sake (contextual calibration). Zeros without judgements.
    """
    sums, seen = np.zeros(n_candidates), np.zeros(n_candidates)
    for one in judgements:
        label_scores = one.scores[list(one.shown)]
        sums[: len(label_scores)] += label_scores
        seen[: len(label_scores)] += 1
    means = np.divide(sums, seen, out=np.zeros(n_candidates), where=seen > 0)
    if seen.any():
        means = np.where(seen > 0, means - means[seen > 0].mean(), 0.0)
    return tuple(round(float(mean), 6) for mean in means)
