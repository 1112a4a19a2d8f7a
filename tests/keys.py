"""Certificates for tests: a station's, its clients', and a stranger's that is on no list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zmq.auth import create_certificates

from mdss.client import CurveKeys


@dataclass(frozen=True)
class KeyRing:
    """A folder of keys: `secret/` holds what each keeps for itself, `clients/` is the station's list."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, *clients: str) -> KeyRing:
        """Make the station's certificate and one for each client."""
        ring = cls(folder)
        for path in (ring.secrets, ring.clients):
            path.mkdir(parents=True)
        ring.add("station", is_listed=False)
        for name in clients:
            ring.add(name)
        return ring

    @property
    def secrets(self) -> Path:
        """Where all certificates lie."""
        return self.folder / "secret"

    @property
    def clients(self) -> Path:
        """The allow-list."""
        return self.folder / "clients"

    @property
    def section(self) -> dict[str, str]:
        """What the settings say of these keys."""
        return {"server_key_file": str(self.secrets / "station.key_secret"), "client_keys": str(self.clients)}

    def add(self, name: str, is_listed: bool = True) -> None:
        """Make a certificate, on the list or not."""
        public, secret = create_certificates(self.secrets, name)
        Path(secret).chmod(0o600)
        if is_listed:
            (self.clients / f"{name}.key").write_bytes(Path(public).read_bytes())

    def of(self, name: str) -> CurveKeys:
        """Return what a client of this name connects with."""
        return CurveKeys.read(self.secrets / f"{name}.key_secret", self.secrets / "station.key")
