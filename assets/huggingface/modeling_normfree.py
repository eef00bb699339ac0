"""Decoders that normfree trained, for transformers: every norm, activation, network and mechanism of its [model] table.

Parameters have the names and shapes of the family's Hugging Face files, so `model.safetensors` of a checkpoint fits. Each is
declared once, with the number that it starts at; forward passes look it up by the same name.

Attention weights that `output_attentions=True` returns sum to one over the keys, also where a head has a sink: normfree's
entropies are of these.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast

from .block_normfree import NAMES, Declared, Holder, NormfreeBlock, unit
from .configuration_normfree import NormfreeConfig
from .functions_normfree import LEARNS_P


# What the library calls the cache of keys and values; it was renamed in version 5.
CACHE = "cache" if "cache" in CausalLMOutputWithPast.__dataclass_fields__ else "past_key_values"


class NormfreeDecoder(Declared):
    """Embeddings, blocks, and the norm before the head."""

    def __init__(self, config):
        super().__init__(config)
        self.names = NAMES[config.family]
        self.gradient_checkpointing = False
        self.add_module(self.names["tokens"], nn.Embedding(config.vocab_size, config.n_embd))
        if config.family == "gpt2":
            self.add_module("wpe", nn.Embedding(config.n_positions, config.n_embd))
        if config.embedding_scale:
            self.declare("embedding_scale", (1,), math.sqrt(config.n_embd))
        if config.activation in LEARNS_P and config.slope_scope == "shared":
            self.declare("act.slopes", (1,), config.slope_init)
        blocks = [NormfreeBlock(config, layer) for layer in range(config.n_layer)]
        self.add_module(self.names["blocks"], nn.ModuleList(blocks))
        self.declare_norm(self.names["final_norm"], config.norm_at_head())

    @property
    def blocks(self):
        return self._modules[self.names["blocks"]]

    def turns(self, positions, dtype):
        """Cosines and sines [B, 1, T, half] of rotary positions, computed in f64; None where positions are learned."""
        config = self.config
        if config.family == "gpt2":
            return None
        columns = int(config.head_dim * config.rotary_pct)
        # Some devices have no f64.
        exponents = torch.arange(0, columns, 2, dtype=torch.float64, device="cpu") / columns
        angles = positions.cpu().double().unsqueeze(-1) / (config.rope_theta or 10000.0) ** exponents
        return [f(angles).unsqueeze(1).to(positions.device, dtype) for f in (torch.cos, torch.sin)]

    def forward(self, x, positions, seen, cache, weights_wanted, states_wanted):
        config = self.config
        if config.family == "gpt2":
            x = x + self.wpe(positions)
        if config.embedding_scale:
            x = x * self.find("embedding_scale")
        x = F.dropout(x, config.embd_pdrop, self.training)
        if config.residual == "ngpt":
            x = unit(x)
        given = {"positions": positions, "turns": self.turns(positions, x.dtype), "seen": seen}
        shared = self.find("act.slopes")
        states, all_weights = [], []
        for block in self.blocks:
            states.append(x)
            arguments = (x, given, cache, shared, weights_wanted)
            if self.gradient_checkpointing and self.training:
                x, weights = self._gradient_checkpointing_func(block.__call__, *arguments)
            else:
                x, weights = block(*arguments)
            all_weights.append(weights)
        x = self.normalized(x, self.names["final_norm"], config.norm_at_head())
        states.append(x)
        return x, tuple(states) if states_wanted else None, tuple(all_weights) if weights_wanted else None


class NormfreeForCausalLM(PreTrainedModel, GenerationMixin):
    """A decoder with its head: logits of the next token, and the loss where labels are given."""

    config_class = NormfreeConfig
    base_model_prefix = ""
    supports_gradient_checkpointing = True
    _no_split_modules = ["NormfreeBlock"]
    _supports_sdpa = True
    _supports_cache_class = True
    _supports_static_cache = False

    def __init__(self, config):
        super().__init__(config)
        self.names = NAMES[config.family]
        self.add_module(self.names["decoder"], NormfreeDecoder(config))
        if not config.tied:
            self.add_module(self.names["head"], nn.Linear(config.n_embd, config.vocab_size, bias=False))
        self.post_init()

    @property
    def decoder(self):
        return self._modules[self.names["decoder"]]

    def get_decoder(self):
        return self.decoder

    def get_input_embeddings(self):
        return self.decoder._modules[self.names["tokens"]]

    def set_input_embeddings(self, table):
        self.decoder._modules[self.names["tokens"]] = table

    def get_output_embeddings(self):
        """The head's own matrix; None if it is the token table."""
        return self._modules.get(self.names["head"])

    def set_output_embeddings(self, head):
        if not self.config.tied:
            self._modules[self.names["head"]] = head

    def _init_weights(self, module):
        if isinstance(module, Holder):
            module.begin()
        elif isinstance(module, (nn.Embedding, nn.Linear)):
            if not getattr(module.weight, "_is_hf_initialized", False) and not module.weight.is_meta:
                module.weight.data.normal_(0.0, self.config.initializer_range)

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        cache=None,
        inputs_embeds=None,
        labels=None,
        use_cache=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
        logits_to_keep=0,
        num_items_in_batch=None,
        **kwargs,
    ):
        config = self.config
        weights_wanted = config.output_attentions if output_attentions is None else output_attentions
        states_wanted = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        penalizes = self.training and labels is not None and config.entropy_regularization > 0
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        x = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        use_cache = config.use_cache if use_cache is None else use_cache
        if self.training and self.decoder.gradient_checkpointing:
            # A block that runs twice must not add its keys twice.
            use_cache, past_key_values, cache = False, None, None
        cache = past_key_values if cache is None else cache
        cache = DynamicCache() if use_cache and cache is None else cache
        past = 0 if cache is None else cache.get_seq_length()
        length = x.shape[1]
        if past + length > config.n_positions:
            raise ValueError(f"the model has {config.n_positions} positions; the text has {past + length} tokens")
        if position_ids is None:
            position_ids = torch.arange(past, past + length, device=x.device).unsqueeze(0).expand(x.shape[0], -1)
        rows = torch.arange(past, past + length, device=x.device).unsqueeze(-1)
        seen = (torch.arange(past + length, device=x.device) <= rows)[None, None]
        if attention_mask is not None:
            seen = seen & attention_mask[:, None, None, :].bool()
        x, states, weights = self.decoder(
            x, position_ids, seen, cache, weights_wanted or penalizes, states_wanted
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        head = self.get_output_embeddings()
        matrix = self.get_input_embeddings().weight if head is None else head.weight
        logits = F.linear(x[:, kept], matrix)
        loss = None
        if labels is not None:
            rows, targets = logits[:, :-1].float(), labels[:, 1:].to(logits.device)
            reduction = "mean" if num_items_in_batch is None else "sum"
            loss = F.cross_entropy(rows.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction=reduction)
            loss = loss if num_items_in_batch is None else loss / num_items_in_batch
        if penalizes:
            loss = loss + sum(block.penalty(of) for block, of in zip(self.decoder.blocks, weights))
        result = CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            hidden_states=states,
            attentions=weights if weights_wanted else None,
            **{CACHE: cache if use_cache else None},
        )
        return_dict = getattr(config, "return_dict", True) if return_dict is None else return_dict
        return result if return_dict else result.to_tuple()
