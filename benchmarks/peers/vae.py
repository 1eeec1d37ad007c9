"""VAE compared with a tutorial-style loop in plain PyTorch, with the same network."""

import torch
from torch.nn import functional
from torch.utils.data import TensorDataset
from torchvision import transforms

from benchmarks.peers.contestant import Contestant, Ours, Pictures, Setting, endless, random_images, resident, settings
from benchmarks.peers.turns import compare, summary
from triptych.machine.device import Machine
from triptych.training.objective import to_float
from triptych.vae.model import VAE
from triptych.vae.objective import VAEObjective
from triptych.vae.params import VAEParams

STEPS = 10
SHAPE = (3, 32, 32)
DIFFERS = "images come from a DataLoader, and the loss is read at each step"


def plain(study: VAEParams, setting: Setting, ready: bool, place: Machine) -> Contestant:
    """Return the tutorial loop. `ready`: images are floats beforehand; otherwise each is converted on access."""
    torch.manual_seed(0)
    network = VAE(image_shape=SHAPE, **study.network.model_dump()).to(place.device, memory_format=setting.layout)
    optimiser = torch.optim.Adam(
        network.parameters(), study.training.optimiser.learning_rate, fused=setting.tuned or None
    )
    batch = study.training.batch_size
    images = random_images((1 + STEPS) * batch)
    each = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])
    dataset = TensorDataset(to_float(resident(images, place))) if ready else Pictures(images, each)
    batches = endless(dataset, batch, setting.workers)
    losses = []

    def step() -> None:
        x = next(batches)[0].to(place.device, memory_format=setting.layout)
        with setting.autocast(place):
            mu, log_var = network.encode(x)
            z = mu + (0.5 * log_var).exp() * torch.randn_like(mu)
            reconstruction = network.decode(z).float()
        error = functional.mse_loss(reconstruction, x, reduction="sum") / (2 * study.likelihood_sigma**2)
        kl = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())
        loss = (error + kl) / len(x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())

    name = f"{setting}, {'images ready as floats' if ready else 'ToTensor and Normalize'}"
    return Contestant(name, batch, setting.threads, step)


def measure(study: VAEParams, place: Machine, rounds: int) -> dict:
    """Return images per second, ours and the loop's."""
    torch.manual_seed(0)
    objective = VAEObjective(VAE(image_shape=SHAPE, **study.network.model_dump()), study.likelihood_sigma)
    batch = study.training.batch_size
    ours = Ours(objective, resident(random_images((1 + STEPS) * batch), place), study.training, place)
    tuned = settings(place, (0,))[-1]
    kinds = [*((setting, False) for setting in settings(place, (0, 1, 2))), (tuned, True)]
    peers = [plain(study, setting, ready, place) for setting, ready in kinds]
    duels = compare(Contestant("ours", batch, place.threads, ours.step), peers, rounds, STEPS, wait=place.synchronise)
    return {"title": "VAE", "unit": "images/s", "peer_name": "plain PyTorch", "differs": DIFFERS, **summary(duels)}
