//! Chat templates: in the forms in which models bring them, and hostile ones.

use std::time::{Duration, SystemTime};

use serde_json::json;
use slmscope_engine::gguf::Gguf;
use slmscope_engine::tokenizer::{ChatTemplate, TokenizerError};

use crate::directory::files;
use crate::gguf_builder::{Field, file};

const CHATML: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
    {{ '<|im_start|>system\\nBe brief<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\\n' + \
    message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}\
    {{ '<|im_start|>assistant\\n' }}{% endif %}";

fn template(source: &str) -> ChatTemplate {
    let config = json!({"chat_template": source, "bos_token": "<s>", "eos_token": {"content": "</s>"}});
    ChatTemplate::from_directory(&files(&[("tokenizer_config.json", &config.to_string())]))
        .expect("it has a template")
}

fn render(source: &str) -> Result<String, String> {
    // 2024-07-26 12:00:00 UTC.
    let now = SystemTime::UNIX_EPOCH + Duration::from_hours(478_332);
    template(source).render("Hi <there> \"you\"", now).map_err(|error| error.to_string())
}

#[test]
fn a_message_is_written_as_the_template_says() {
    let expected = "<|im_start|>system\nBe brief<|im_end|>\n<|im_start|>user\nHi <there> \"you\"<|im_end|>\n\
        <|im_start|>assistant\n";
    assert_eq!(render(CHATML).unwrap(), expected);
    let gguf = file(
        &[
            (
                "tokenizer.chat_template",
                Field::Str("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"),
            ),
            ("tokenizer.ggml.tokens", Field::Strs(vec!["<pad>", "<bos>", "<eos>"])),
            ("tokenizer.ggml.bos_token_id", Field::U32(1)),
            ("tokenizer.ggml.eos_token_id", Field::U32(2)),
        ],
        &[],
        0,
    );
    let template = ChatTemplate::from_gguf(&Gguf::parse(&gguf, "m.gguf").unwrap()).unwrap();
    assert_eq!(template.render("a", SystemTime::UNIX_EPOCH).unwrap(), "<bos>a<eos>");
}

#[test]
fn templates_find_what_they_expect_of_python() {
    let cases = [
        ("{{ messages | tojson }}", r#"[{"role": "user", "content": "Hi <there> \"you\""}]"#),
        ("{{ {'b': 1, 'a': [true, none]} | tojson }}", r#"{"b": 1, "a": [true, null]}"#),
        ("{{ [1, {'a': 2}] | tojson(indent=2) }}", "[\n  1,\n  {\n    \"a\": 2\n  }\n]"),
        ("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"),
        ("{{ messages[0]['content'].strip().split(' ')[0].upper() }}", "HI"),
        ("{% if messages[0].role.startswith('us') %}yes{% endif %}", "yes"),
        ("{{ messages[0].get('name', 'nobody') }} {{ messages[-1].items() | length }}", "nobody 2"),
        ("{% generation %}a{%- endgeneration -%} b", "ab"),
        ("{% for x in range(9) %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}", "01"),
        ("{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m('x') }}", "[x]"),
        (
            "{% set ns = namespace(n=0) %}{% for x in 'abc' %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            "3",
        ),
        ("{% if not tools is defined %}a{% elif tools is none %}b{% endif %}", "b"),
        ("{% if tools is iterable and tools | length > 0 %}a{% else %}b{% endif %}", "b"),
        ("{% if date_string is defined %}a{% else %}b{% endif %}\n", "b"),
        ("  {%- if true %}\n    a\n    {% endif %}\nb\n", "    a\nb"),
    ];
    for (source, expected) in cases {
        assert_eq!(render(source).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn one_of_several_templates_is_the_default() {
    let config = json!({"chat_template": [{"name": "tool_use", "template": "tools"},
        {"name": "default", "template": "plain"}]});
    let contents = [("tokenizer_config.json", config.to_string())];
    let contents = contents.each_ref().map(|(name, content)| (*name, content.as_str()));
    let both = [contents[0], ("chat_template.jinja", "from its own file")];
    let text = |contents: &[(&str, &str)]| {
        ChatTemplate::from_directory(&files(contents)).unwrap().render("", SystemTime::UNIX_EPOCH).unwrap()
    };
    assert_eq!((text(&contents), text(&both)), ("plain".to_owned(), "from its own file".to_owned()));
    let none = ChatTemplate::from_directory(&files(&[("tokenizer_config.json", "{}")])).err().unwrap();
    assert!(matches!(&none, TokenizerError::NoTemplate { file } if file == "model/tokenizer_config.json"));
}

#[test]
fn hostile_templates_end_in_an_error() {
    let cases = [
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "more work"),
        ("{{ 'x' * 9000000000 }}", "more work"),
        (
            "{% set ns = namespace(s='x') %}{% for a in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
            "more work",
        ),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
        ("{{ raise_exception('only the system may speak') }}", "only the system may speak"),
        ("{% if %}", "cannot be read"),
        ("a\n{{ messages[0].content.frobnicate() }}", "line 2"),
        ("{{ nothing.at.all }}", "undefined"),
        ("{% include '/etc/passwd' %}", "template"),
        ("{{ strftime_now('%') }}", "fails"),
    ];
    for (source, reason) in cases {
        let error = render(source).unwrap_err();
        assert!(error.starts_with("model/tokenizer_config.json: the chat template "), "{error}");
        assert!(error.contains(reason), "{source}: {error}");
    }
    let nested = format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(render(&format!("{{{{ {nested} }}}}")).is_err());
}
