"""The repository of bundles: any fsspec URL, a local folder by default."""

from pathlib import Path, PurePosixPath

import fsspec

from model.bundle import MANIFEST, MAX_BUNDLE_BYTES, BrokenBundle, Manifest, safe_name


class UnknownVersion(LookupError):
    """A model version that the repository does not hold."""


class Repository:
    """Versions of a model as ``<url>/<version>/``, each complete once its manifest is there."""

    def __init__(self, url: str) -> None:
        """Open a repository; nothing is read yet.

        Args:
            url: a folder or any URL fsspec knows (``s3://…``, ``gs://…``, ``memory://…``).
        """
        self.url = url
        self._files, self._root = fsspec.core.url_to_fs(url)

    def versions(self) -> list[int]:
        """Complete versions, ascending; folders without a manifest do not count."""
        if not self._files.isdir(self._root):
            return []
        names = [PurePosixPath(entry).name for entry in self._files.ls(self._root, detail=False)]
        numbers = sorted(int(name) for name in names if name.isascii() and name.isdigit())
        return [n for n in numbers if self._files.isfile(f"{self._root}/{n}/{MANIFEST}")]

    def manifest(self, version: int) -> Manifest:
        """What a version says of itself.

        Raises:
            UnknownVersion: when the version is not there or not complete.
            BrokenBundle: when its manifest cannot be read, or is another version's.
        """
        return self._parsed(version, self._manifest_bytes(version))

    def put(self, folder: Path, version: int) -> None:
        """Copy a sealed bundle into the repository, its manifest last.

        Raises:
            FileExistsError: when the version is there already: versions never change.
        """
        target = f"{self._root}/{version}"
        if self._files.isfile(f"{target}/{MANIFEST}"):
            raise FileExistsError(f"model version {version} already stands in {self.url}")
        manifest = Manifest.from_json((folder / MANIFEST).read_text())
        for name in manifest.files:
            self._files.makedirs(str(PurePosixPath(f"{target}/{name}").parent), exist_ok=True)
            self._files.put_file(str(folder / name), f"{target}/{name}")
        # Under another name first: half a manifest would make half a version count.
        self._files.put_file(str(folder / MANIFEST), f"{target}/{MANIFEST}.tmp")
        self._files.mv(f"{target}/{MANIFEST}.tmp", f"{target}/{MANIFEST}")

    def fetch(self, version: int, folder: Path) -> None:
        """Copy a version into an empty private folder, its manifest last.

        Raises:
            UnknownVersion: when the version is not there or not complete.
            BrokenBundle: when the manifest is unreadable, names files outside the bundle or
                files that are missing, or when the bundle is too large.
        """
        source = f"{self._root}/{version}"
        manifest_bytes = self._manifest_bytes(version)
        manifest = self._parsed(version, manifest_bytes)
        self._refuse_extra_files(source, manifest)
        self._copy(source, folder, manifest)
        (folder / MANIFEST).write_bytes(manifest_bytes)

    def _manifest_bytes(self, version: int) -> bytes:
        if version not in self.versions():
            raise UnknownVersion(
                f"model version {version} is not in {self.url}; it holds {self.versions()}"
            )
        return bytes(self._files.cat_file(f"{self._root}/{version}/{MANIFEST}"))

    @staticmethod
    def _parsed(version: int, text: bytes) -> Manifest:
        manifest = Manifest.from_json(text.decode(errors="replace"))
        if manifest.model_version != version:
            raise BrokenBundle(f"folder {version} holds model_version {manifest.model_version}")
        return manifest

    def _refuse_extra_files(self, source: str, manifest: Manifest) -> None:
        found = self._files.find(source, detail=True)
        size = sum(entry["size"] or 0 for entry in found.values())
        if size > MAX_BUNDLE_BYTES:
            raise BrokenBundle(f"{size} bytes, at most {MAX_BUNDLE_BYTES} are accepted")
        names = {PurePosixPath(path).relative_to(source).as_posix() for path in found}
        if extra := sorted(names - set(manifest.files) - {MANIFEST}):
            raise BrokenBundle(f"files the manifest does not name: {', '.join(extra[:5])}")

    def _copy(self, source: str, folder: Path, manifest: Manifest) -> None:
        for name in manifest.files:
            target = folder / safe_name(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                if self._files.info(f"{source}/{name}").get("islink"):
                    raise BrokenBundle(f"{name}: a link; bundles hold plain files only")
                self._files.get_file(f"{source}/{name}", str(target))
            except FileNotFoundError as error:
                raise BrokenBundle(f"missing file: {name}; copy the bundle again") from error
