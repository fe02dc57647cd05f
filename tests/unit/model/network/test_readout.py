"""The one row of a Transformer layer that is read."""

import pytest
import torch
from torch import Tensor, nn

from model.network.layers import initialise
from model.network.readout import TransformerReadout

WIDTH, HEADS, HIDDEN = 8, 2, 12


def test_it_is_the_first_row_of_the_whole_layer() -> None:
    """Reading one row gives what torch's own encoder layer gives at that row."""
    layer, whole = TransformerReadout(WIDTH, HEADS, HIDDEN), encoder_layer()
    initialise(layer, seed=1)
    copy_into(whole, layer)
    rows, mask = drawn()
    expected = whole(rows, src_key_padding_mask=mask == 0)[:, 0]
    torch.testing.assert_close(layer(rows[:, 0], rows, mask), expected, atol=1e-5, rtol=1e-5)


def test_padded_rows_do_not_matter() -> None:
    """What stands in a padded row reaches nothing."""
    layer = TransformerReadout(WIDTH, HEADS, HIDDEN)
    initialise(layer, seed=1)
    rows, mask = drawn()
    other = torch.where(mask.unsqueeze(-1) == 1, rows, 7.0)
    assert torch.equal(layer(rows[:, 0], rows, mask), layer(rows[:, 0], other, mask))


def test_heads_must_divide_the_width() -> None:
    """A width that the heads cannot share is refused, with both numbers."""
    with pytest.raises(ValueError, match=r"width 7: expected a multiple of the 2"):
        TransformerReadout(7, 2, 4)


def drawn() -> tuple[Tensor, Tensor]:
    """Five sequences of up to six rows, and their mask."""
    generator = torch.Generator().manual_seed(1)
    mask = (torch.arange(6) <= torch.arange(5).unsqueeze(1)).to(torch.float32)
    return torch.randn(5, 6, WIDTH, generator=generator), mask


def encoder_layer() -> nn.TransformerEncoderLayer:
    """Torch's layer of the same form."""
    return nn.TransformerEncoderLayer(
        WIDTH, HEADS, HIDDEN, dropout=0.0, batch_first=True, norm_first=True
    )


@torch.no_grad()
def copy_into(whole: nn.TransformerEncoderLayer, layer: TransformerReadout) -> None:
    """Give torch's layer the same parameters, all biases other than zero."""
    for module in (layer.query, layer.value, layer.joined, layer.widen, layer.narrow):
        module.bias.normal_(generator=torch.Generator().manual_seed(2))
    weights = [layer.query.weight, layer.key.weight, layer.value.weight]
    attention = whole.self_attn
    attention.in_proj_weight.copy_(torch.cat(weights))
    attention.in_proj_bias.copy_(
        torch.cat([layer.query.bias, torch.zeros(WIDTH), layer.value.bias])
    )
    attention.out_proj.load_state_dict(layer.joined.state_dict())
    whole.linear1.load_state_dict(layer.widen.state_dict())
    whole.linear2.load_state_dict(layer.narrow.state_dict())
