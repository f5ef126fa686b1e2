"""`longtail bundle`: makes keys, signs bundles, verifies them, pushes and pulls them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from app import bundle_exchange_command

_RAW = argparse.RawDescriptionHelpFormatter


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `longtail bundle`."""
    bundle = subparsers.add_parser(
        "bundle",
        help="sign, verify, push and pull bundles",
        description="Sign bundles with a key of your own, verify files and signatures, push and\n"
        "pull with a Hugging Face hub or MLflow.\n"
        "With LONGTAIL_BUNDLE_SIGNATURES=required, only bundles that are signed with one of\n"
        "LONGTAIL_TRUSTED_KEYS are published, activated and loaded.",
        epilog="examples:\n"
        "  longtail bundle keygen --out release.key\n"
        "  longtail bundle sign builds/mine/bundle --key release.key\n"
        '  longtail bundle verify builds/mine/bundle --trust "$(cat release.key.pub)"\n'
        "  longtail bundle push builds/mine/bundle hf://shop/recommender\n"
        "  longtail bundle pull hf://shop/recommender --out bundles",
        formatter_class=_RAW,
    )
    actions = bundle.add_subparsers(dest="action", required=True, metavar="ACTION")
    keygen = actions.add_parser(
        "keygen",
        help="make a key pair",
        description="Write a new private key that nobody else may read, and its public key beside\n"
        "it, in FILE.pub; print the public key, as LONGTAIL_TRUSTED_KEYS takes it.",
        epilog="example: longtail bundle keygen --out release.key",
        formatter_class=_RAW,
    )
    keygen.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="of the private key"
    )
    keygen.set_defaults(run=_run_keygen)
    sign = actions.add_parser(
        "sign",
        help="sign a bundle",
        description="Check a bundle's files, and sign its manifest, which has the\nsha256 of each.",
        epilog="examples:\n"
        "  longtail bundle sign builds/mine/bundle --key release.key\n"
        "  longtail bundle sign builds/mine/bundle --key release.key --version 2026-12-01-2",
        formatter_class=_RAW,
    )
    sign.add_argument("folder", type=Path, metavar="FOLDER", help="of the bundle")
    sign.add_argument(
        "--key", type=Path, required=True, metavar="FILE", help="private key of `keygen`"
    )
    sign.add_argument(
        "--version", metavar="VERSION", help="give it this version first (its own stays)"
    )
    sign.set_defaults(run=_run_sign)
    _register_verify(actions)
    bundle_exchange_command.register(actions)


def _register_verify(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verify = actions.add_parser(
        "verify",
        help="check a bundle's files and signature",
        description="Check that files are as the manifest of a bundle says, and that it is\n"
        "signed with a trusted key.",
        epilog="examples:\n"
        "  longtail bundle verify builds/mine/bundle\n"
        "  longtail bundle verify 2026-12-01-1",
        formatter_class=_RAW,
    )
    verify.add_argument(
        "bundle", metavar="BUNDLE", help="its folder, or a version in LONGTAIL_BUNDLES_DIR"
    )
    verify.add_argument(
        "--trust",
        metavar="KEYS",
        help="public keys, separated by commas (else LONGTAIL_TRUSTED_KEYS)",
    )
    verify.add_argument("--json", action="store_true", help="print JSON, for machines")
    verify.set_defaults(run=_run_verify)


def _run_keygen(arguments: argparse.Namespace) -> int:
    from model_store.private_key import PrivateKey

    made = PrivateKey.make(arguments.out)
    print(f"{arguments.out}: the private key {made.public.id}, for you alone", file=sys.stderr)
    print(made.public)
    return 0


def _run_sign(arguments: argparse.Namespace) -> int:
    from model_store.bundle import MANIFEST, Bundle
    from model_store.private_key import PrivateKey

    key = PrivateKey.read(arguments.key)
    bundle = Bundle.open(arguments.folder)
    if arguments.version is not None and arguments.version != bundle.version:
        manifest = bundle.manifest.model_copy(update={"version": _version(arguments.version)})
        manifest.save(bundle.folder / MANIFEST)
    key.sign(bundle.folder, MANIFEST)
    print(f"version {arguments.version or bundle.version} is signed with the key {key.public.id}")
    return 0


def _run_verify(arguments: argparse.Namespace) -> int:
    from model_store.bundle import MANIFEST, Bundle
    from model_store.errors import ConfigError
    from model_store.manifest import Manifest
    from model_store.signatures import KEYS_SETTING, Trust, read_keys, read_signature, trust_from

    try:
        keys = trust_from().keys if arguments.trust is None else read_keys(arguments.trust)
    except ValueError as error:
        raise ConfigError(f"--trust {arguments.trust!r}: {error}") from None
    if not keys:
        raise ConfigError(f"no key is trusted: {KEYS_SETTING} is unset, and there is no --trust")
    folder = _folder_of(arguments.bundle)
    content = Manifest.read(folder / MANIFEST)
    version = Manifest.parse(content, folder / MANIFEST).version
    signer = Trust(keys).find_signer(version, content, read_signature(folder))
    bundle = Bundle.open(folder, trust=Trust((signer,), is_required=True))
    n_files = len(bundle.manifest.files)
    if arguments.json:
        print(json.dumps({"version": version, "files": n_files, "key": signer.id}))
    else:
        print(f"version {version}: {n_files} files as signed with the key {signer.id}")
    return 0


def _folder_of(text: str) -> Path:
    """The folder of a bundle that is named by folder or version; downloaded if it is at a URL."""
    from model_store.bundle import MANIFEST
    from model_store.manifest import check_version
    from model_store.publication import bundles_folder
    from model_store.remote_bundles import find_bundle

    folder = Path(text)
    if (folder / MANIFEST).exists():
        return folder
    try:
        version = check_version(text)
    except ValueError:
        return folder
    return find_bundle(bundles_folder(), version, None)


def _version(text: str) -> str:
    from model_store.errors import ConfigError
    from model_store.manifest import check_version

    try:
        return check_version(text)
    except ValueError as error:
        raise ConfigError(f"--version: {error}") from None
