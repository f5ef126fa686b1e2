"""Every key in the store, and nothing else writes one.

lt:models                  hash     version → record (JSON)
lt:deployment              string   the active version (deployment.Deployment, JSON)
lt:deployments             hash     name → the same of a version that is active under another name
                                    than `default` (deployments.Deployments)
lt:rules                   list     rules that were in force before those of the deployment record,
                                    newest first (rules.RuleSet, JSON)
lt:preparing               string   a version that all workers are to load, with its operator
                                    (rollout.Preparing, JSON); expires soon after they end
lt:workers                 set      ids of workers
lt:worker:<id>             string   what a worker answers with (workers.WorkerState, JSON); expires
                                    soon after it ends
lt:tokens                  hash     id → record of an operator's token or a caller's key
                                    (tokens.TokenRecord, JSON)
lt:uses:<minute>           hash     id of a key → requests of all workers in a minute; expires
lt:outcomes:<epoch>        hash     id of a worker → what a canary and the active version answered
                                    there (canary.watch.Counts, JSON); expires a day later
lt:forgotten               sorted set  digests of users who were forgotten, by unix microseconds
                                    (people.digest_of_user)
lt:items:states            hash     item_id → what was said of it since it was trained
                                    (item_changes.ItemState, JSON), for all versions
lt:items:changes           sorted set  the same item_ids by the number of their newest change
lt:experiment:<name>:<shard>  hash  what the users of a shard saw and clicked in an experiment, and
                                    the sums over them by arm and version (experiment_counts);
                                    expires 30 days after its end, or after the last count
lt:experiment:@<name>:<shard> hash  the same under a name of a model, since its present versions
                                    answer
lt:active, lt:previous     string, list   the same in earlier releases; removed by the first change
lt:probe                   none     never set: writes are tried on it without effect
lt:events:<user_id>        sorted set  events by time, version-independent (codecs.encode_arrived);
                                    a list in stores of version 0.1, converted when it is touched
lt:log:<shard>             stream   events of a shard of the users until all groups of readers, as
                                    the archive, have them (event_log.log_command, log_groups)
lt:shown:<shard>           stream   what a shard of the users was answered, until it is archived
                                    (exposure_log.exposure_command)
lt:served:<user_id>        list     answers to requests with `exclude_served`, newest first
                                    (served.ServedAnswer, JSON); expires after the last one
lt:v:<version>:u:<user_id> string   user blob (codecs.encode_user)
lt:v:<version>:vectors     hash     item_id → knowledge vector (codecs.encode_vector): of fresh
                                    items, and of all after `longtail publish --vectors`
lt:v:<version>:fresh       list     item_ids whose vectors arrived after training, in order
lt:v:<version>:attributes  hash     item_id → attributes (JSON), of fresh items only
lt:v:<version>:knowledge   hash     item_id → text with provenance (JSON of
                                    knowledge_texts.KnowledgeText), of fresh items only
lt:v:<version>:shadow:<a>  list     answers of the version as a shadow next to those of version a,
                                    newest first (answer_pairs.AnswerPair, JSON)
lt:v:<version>:rerank      hash     digest of a job → the reranker's answer (rerank_codec)
lt:v:<version>:rerank-times sorted set  the same digests by unix seconds; bounds the hash

In a cluster the names get hash tags on their way to the store (`in_cluster`): what a request reads
of a user lies in one slot, and all that is not a user's in another, so that every transaction and
script is of one slot.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterator
from itertools import count

MODELS = "lt:models"
DEPLOYMENT = "lt:deployment"
DEPLOYMENTS = "lt:deployments"
RULES = "lt:rules"
PREPARING = "lt:preparing"
WORKERS = "lt:workers"
TOKENS = "lt:tokens"
FORGOTTEN = "lt:forgotten"
ITEM_STATES = "lt:items:states"
ITEM_CHANGES = "lt:items:changes"
ACTIVE = "lt:active"
PREVIOUS = "lt:previous"
PROBE = "lt:probe"

MAX_EVENTS_PER_USER = 1_000

N_SLOTS = 16_384
_SPREAD = ("lt:events:", "lt:served:", "lt:log:", "lt:shown:")
_OF_A_VERSION = "lt:v:"


def worker_key(worker_id: str) -> str:
    """State of a worker."""
    return f"lt:worker:{worker_id}"


def outcomes_key(epoch: str) -> str:
    """Hash of what workers counted during an epoch of a canary."""
    return f"lt:outcomes:{epoch}"


def uses_key(window: int) -> str:
    """Hash of the counted uses of keys in a minute."""
    return f"lt:uses:{window}"


def experiment_key(name: str, shard: int) -> str:
    """Hash of what was counted of a shard of the users in an experiment, or under @ and a name."""
    return f"lt:experiment:{name}:{shard}"


def events_key(user_id: str) -> str:
    """Sorted set of a user's events."""
    return f"lt:events:{user_id}"


def event_log_key(shard: int) -> str:
    """Stream of the events of a shard of the users."""
    return f"lt:log:{shard}"


def exposure_log_key(shard: int) -> str:
    """Stream of what a shard of the users was answered."""
    return f"lt:shown:{shard}"


def served_key(user_id: str) -> str:
    """List of a user's last answers."""
    return f"lt:served:{user_id}"


def user_key(version: str, user_id: str) -> str:
    """Blob of a user's history, in the version's item indices."""
    return f"lt:v:{version}:u:{user_id}"


def vectors_key(version: str) -> str:
    """Hash of knowledge vectors, of fresh items or of all."""
    return f"lt:v:{version}:vectors"


def fresh_key(version: str) -> str:
    """List of fresh items."""
    return f"lt:v:{version}:fresh"


def attributes_key(version: str) -> str:
    """Hash of fresh items' attributes."""
    return f"lt:v:{version}:attributes"


def knowledge_key(version: str) -> str:
    """Hash of the texts that a language model wrote about fresh items."""
    return f"lt:v:{version}:knowledge"


def answer_pairs_key(a: str, b: str) -> str:
    """List of answers of two versions to the same requests; it goes with version b."""
    return f"lt:v:{b}:shadow:{a}"


def rerank_key(version: str) -> str:
    """Hash of the reranker's answers."""
    return f"lt:v:{version}:rerank"


def rerank_times_key(version: str) -> str:
    """Sorted set of the answers' digests, by time."""
    return f"lt:v:{version}:rerank-times"


def version_pattern(version: str) -> str:
    """SCAN pattern of all keys of a version (a version's letters hold no wildcard)."""
    return f"lt:v:{version}:*"


def in_cluster(key: str) -> tuple[str, int]:
    """The name of a key in a cluster, the same with a hash tag, and its slot.

    All keys of a user have the tag `:<user_id>`, which is never empty: an id may hold braces, as
    the first `{` of the name is always ours, and the tag ends at the same `}` in all of them. The
    streams of events and answers, which much is written to, lie apart from each other. All other
    keys have the tag `lt`; none of them holds an id from outside. What `version_pattern`
    finds stays the same.
    """
    if key.startswith(_SPREAD):
        at = key.find(":", 3)
    elif key.startswith(_OF_A_VERSION) and key.startswith(
        ":u:", at := key.find(":", len(_OF_A_VERSION))
    ):
        at += 2
    else:
        return f"{key}{{lt}}", _SLOT_OF_OTHERS
    tag = key[at:]
    return f"{key[:at]}{{{tag}}}", _slot(tag.partition("}")[0])


def users_pattern() -> str:
    """SCAN pattern that finds all keys of users, among others; see `user_of`."""
    return "lt:[ev]*"


def user_of(name: str, version: str) -> str | None:
    """Whose history of a version, or whose events, a key holds; None where it holds neither.

    Args:
        name: as it is in the store, be that a server or a cluster.
        version: of the histories.
    """
    for start in (events_key(""), user_key(version, "")):
        if name.startswith(start):
            return name[len(start) :]
        if name.startswith(f"{start[:-1]}{{:") and name.endswith("}"):
            return name[len(start) + 1 : -1]
    return None


def slot_of_user(user_id: str) -> int:
    """The slot of all that a cluster has by a user's id."""
    return in_cluster(events_key(user_id))[1]


def slot_of(name: str) -> int:
    """The slot, 0 to 16383, of a name as it is in the cluster: that of its hash tag."""
    start = name.find("{")
    end = name.find("}", start + 1)
    return _slot(name[start + 1 : end] if start >= 0 and end > start + 1 else name)


def _slot(tag: str) -> int:
    """CRC-16 (XMODEM) of a hash tag."""
    return crc_hqx(tag.encode(), 0) % N_SLOTS


_SLOT_OF_OTHERS = _slot("lt")


def probe_names() -> Iterator[str]:
    """Keys for trying nodes of a cluster, in ever other slots, as they are named there."""
    return (f"{PROBE}{{{number}}}" for number in count())
