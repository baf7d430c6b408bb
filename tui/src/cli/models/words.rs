//! A model's architecture in words.

use slmscope_profiles::catalogue::{PerLayer, Row};
use slmscope_profiles::display;
use slmscope_profiles::spec::tensors::ParamCounts;
use slmscope_profiles::spec::{DecoderSpec, NormKind, Residual, RopeScaling};

/// One figure, or the smallest and the largest of all layers.
pub fn range(figures: &PerLayer) -> String {
    match figures.range() {
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    }
}

/// How many parameters there are, counted three ways.
pub fn parameters(params: &ParamCounts) -> String {
    let short = display::parameters(params.unique);
    let (stored, unique, multiplied) = (params.stored, params.unique, params.multiplied);
    format!("{short}: stored {stored}, unique {unique}, multiplied per token {multiplied}")
}

/// Kind and heads, for a column: `GQA 9/3`.
pub fn heads(row: &Row) -> String {
    let short = |figures: &PerLayer| range(figures).replace(" to ", "-");
    let attention = &row.attention;
    format!("{} {}/{}", row.attention_kind(), short(&attention.q_heads), short(&attention.kv_heads))
}

/// Kind and heads of attention, and what is special about it.
pub fn attention(row: &Row) -> String {
    let attention = &row.attention;
    let (q, kv) = (range(&attention.q_heads), range(&attention.kv_heads));
    let mut parts = vec![format!(
        "{}, {q} query and {kv} key/value heads of {}",
        row.attention_kind(),
        attention.head_dim
    )];
    if let Some(recurrent) = &row.recurrent {
        let share = format!("attention in every {}rd layer only", recurrent.attention_every);
        let every = if recurrent.attention_every == 3 { share } else { share.replace("rd", "th") };
        parts.push(format!("{every}, else a recurrence of {} elements", recurrent.width));
    }
    if let Some(latent) = &attention.latent {
        let cached = latent.kv_rank + latent.rope_dim;
        parts.push(format!("{cached} elements cached for all heads, values of {}", latent.value_dim));
    }
    if let Some(window) = attention.window {
        parts.push(match window.full_every {
            None => format!("window of {} tokens", window.tokens),
            Some(every) => format!("window of {} tokens but in every {every}th layer", window.tokens),
        });
    }
    let optional = [
        attention.qkv_bias.then(|| "biases".to_owned()),
        attention.qk_norm.map(|_| "queries and keys normalised".to_owned()),
        attention.clip.map(|clip| format!("cut to ±{clip}")),
        attention.softcap.map(|cap| format!("scores capped at {cap}")),
        attention.scale.map(|scale| format!("scores times {scale}")),
        attention.log_n.map(|tokens| format!("queries grow beyond {tokens} tokens")),
    ];
    parts.extend(optional.into_iter().flatten());
    parts.join("; ").replace("every 2th", "every 2nd")
}

/// How positions are encoded.
pub fn positions(row: &Row) -> String {
    if row.alibi {
        return "ALiBi".to_owned();
    }
    if let Some(learned) = row.embedding.positions {
        return format!("learned, {} rows from row {}", learned.rows, learned.offset);
    }
    let Some(rope) = &row.rope else { return "none".to_owned() };
    let turning = row.attention.latent.map_or(row.attention.head_dim, |latent| latent.rope_dim);
    let mut text = match rope.dim {
        Some(dim) => format!("rotary on {dim} of {turning} elements, theta {}", rope.theta),
        None => format!("rotary, theta {}", rope.theta),
    };
    if let Some(theta) = rope.windowed_theta {
        text.push_str(&format!(" ({theta} in layers with a window)"));
    }
    if let Some(every) = rope.skip_every {
        text.push_str(&format!(", none in every {every}th layer"));
    }
    match &rope.scaling {
        RopeScaling::None => {}
        RopeScaling::Linear { factor } => text.push_str(&format!(", stretched {factor} times")),
        RopeScaling::Factors(_) => text.push_str(", a factor for each pair"),
        RopeScaling::Llama3 { factor, original_context, .. } => {
            text.push_str(&format!(", Llama 3 scaling by {factor} from {original_context} tokens"));
        }
        RopeScaling::LongRope { original_context, .. } => {
            text.push_str(&format!(", LongRoPE from {original_context} tokens"));
        }
        RopeScaling::DynamicNtk { trained_context } => {
            text.push_str(&format!(", dynamic NTK beyond {trained_context} tokens"));
        }
    }
    text
}

/// Norms and residual branches.
pub fn norms(row: &Row) -> String {
    let kind = match row.norm.kind {
        NormKind::Rms => "RMS norm",
        NormKind::Layer => "layer norm",
    };
    let parameters = match (row.norm.gain, row.norm.bias) {
        (false, _) => " without parameters",
        (true, true) => " with biases",
        (true, false) => "",
    };
    let place = match row.residual.form {
        Residual::PreNorm if row.residual.post_norms => "before and behind each branch",
        Residual::PreNorm => "before each branch",
        Residual::PostNorm => "after each sum",
        Residual::Parallel => "before each of two parallel branches",
        Residual::ParallelSharedNorm => "one for two parallel branches",
    };
    let scale = row.residual.scale.map(|scale| format!("; branches times {scale}")).unwrap_or_default();
    format!("{kind}{parameters}, {place}, epsilon {:e}{scale}", row.norm.eps)
}

/// The feed-forward.
pub fn ffn(row: &Row) -> String {
    let ffn = &row.ffn;
    let function = format!("{:?}", ffn.activation).to_lowercase().replace("gelutanh", "gelu (tanh)");
    let gate = if ffn.gated { "gated " } else { "" };
    let bias = if ffn.bias { ", biases" } else { "" };
    let shared = if ffn.shared { ", one for all layers" } else { "" };
    format!("{gate}{function}, width {}{bias}{shared}", range(&ffn.dim))
}

/// Vocabulary, embedding and LM head.
pub fn vocabulary(row: &Row) -> String {
    let (embedding, head) = (&row.embedding, &row.head);
    let parts = [
        head.tied.then(|| "tied to the LM head".to_owned()),
        embedding.width.map(|width| format!("rows of {width}, projected")),
        embedding.scale.map(|scale| format!("embeddings times {scale}")),
        embedding.norm.then(|| "normalised".to_owned()),
        head.bias.then(|| "head with biases".to_owned()),
        head.scale.map(|scale| format!("logits times {scale}")),
        head.softcap.map(|cap| format!("logits capped at {cap}")),
    ];
    let mut text = row.vocab.to_string();
    for part in parts.into_iter().flatten() {
        text.push_str(", ");
        text.push_str(&part);
    }
    text
}

/// Context lengths that the KV cache is shown for: 2048, 8192 and the longest.
pub fn contexts(spec: &DecoderSpec) -> Vec<u64> {
    let most = u64::from(spec.max_context);
    [2048, 8192].into_iter().filter(|&tokens| tokens < most).chain([most]).collect()
}

/// Bytes of the KV cache per token and at each of these lengths.
pub fn caches(spec: &DecoderSpec, bytes_per_token: u64) -> String {
    let at = |tokens: u64| format!("{} at {tokens}", display::bytes(bytes_per_token * tokens));
    let all: Vec<_> = contexts(spec).into_iter().map(at).collect();
    format!("{} per token; {} tokens", display::bytes(bytes_per_token), all.join(", "))
}
