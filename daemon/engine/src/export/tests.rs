//! Files of synthetic weights, read back.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use slmscope_profiles::catalogue;
use slmscope_profiles::format::KvFormat;

use super::*;
use crate::clock::Monotonic;
use crate::model::Model;
use crate::recorder::Recorder;
use crate::setup;
use crate::testing::tiny_spec;
use crate::tokenizer::Tokenizer;

fn options<'a>(spec: &'a DecoderSpec, format: WeightFormat, path: &'a Path) -> ExportOptions<'a> {
    ExportOptions { id: "tiny", spec, format, seed: 7, path, replace: false }
}

fn written(options: &ExportOptions<'_>) -> Result<Exported, ExportError> {
    let cancel = AtomicBool::new(false);
    let (mut last, mut total) = (0, 0);
    let mut report = |done, of| (last, total) = (done, of);
    let exported = write(options, &mut Loading::new(&cancel, &mut report))?;
    // What is not counted is the header and the padding.
    assert!(last <= total && total == exported.bytes && last > total / 2);
    Ok(exported)
}

fn logits(model: &Model) -> Vec<f32> {
    let never = AtomicBool::new(false);
    let mut session = model.load(8, &setup::native(), &mut Loading::new(&never, &mut |_, _| ())).unwrap();
    let mut recorder = Recorder::new(session.plan().steps.len());
    session.forward(&[1, 7, 39, 0, 5], &mut recorder, &Monotonic, &never).unwrap();
    session.logits().to_vec()
}

#[test]
fn a_file_computes_what_the_same_weights_compute_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let spec = DecoderSpec { vocab: 600, ..tiny_spec() };
    for format in WeightFormat::ALL {
        let path = folder.path().join(format!("{format}.gguf"));
        let exported = written(&options(&spec, format, &path)).unwrap();
        assert_eq!((exported.architecture, exported.notes.len()), ("llama", 0));
        assert_eq!(exported.bytes, std::fs::metadata(&path).unwrap().len());
        assert!(exported.in_f16.is_empty());
        let file =
            Model::gguf(&GgufFile::open(Arc::new(MappedFile::open(&path).unwrap())).unwrap(), KvFormat::F32)
                .unwrap();
        let made = Model::synthetic(spec.clone(), format, 7, KvFormat::F32).unwrap();
        assert_eq!(file.spec(), made.spec());
        assert_eq!(logits(&file), logits(&made), "{format}");
    }
}

#[test]
fn the_vocabulary_gives_text_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let spec = DecoderSpec { vocab: 2000, ..tiny_spec() };
    written(&options(&spec, WeightFormat::F16, &path)).unwrap();
    let file = GgufFile::open(Arc::new(MappedFile::open(&path).unwrap())).unwrap();
    let tokenizer = Tokenizer::from_gguf(&file.gguf()).unwrap();
    let text = "the quick brown fox: Ünicode, 漢字 & 42";
    let ids = tokenizer.encode(text, true).unwrap();
    assert_eq!(ids.first(), Some(&1));
    assert!(ids.len() < text.len(), "{ids:?}");
    assert_eq!(tokenizer.decode(&ids[1..]).trim_start(), text);
}

#[test]
fn rows_that_blocks_do_not_divide_are_in_f16_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let mut spec = tiny_spec();
    spec.layers.truncate(1);
    spec.layers[0].ffn.dim = 320;
    let exported = written(&options(&spec, WeightFormat::Q4K, &path)).unwrap();
    assert_eq!(exported.in_f16, ["blk.0.ffn_down.weight"]);
}

#[test]
fn nothing_is_left_of_what_was_cancelled_or_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let spec = tiny_spec();
    let stop = AtomicBool::new(true);
    let error = write(&options(&spec, WeightFormat::F32, &path), &mut Loading::new(&stop, &mut |_, _| ()));
    assert!(matches!(error, Err(ExportError::Load(LoadError::Cancelled))));
    let mut shared = tiny_spec();
    shared.layers[1].ffn.shared_with = Some(0);
    let error = written(&options(&shared, WeightFormat::F32, &path)).unwrap_err().to_string();
    assert!(error.contains("tiny has a feed-forward that several layers share"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    written(&options(&spec, WeightFormat::F32, &path)).unwrap();
    let before = std::fs::read(&path).unwrap();
    let again = written(&options(&spec, WeightFormat::Q4_0, &path)).unwrap_err().to_string();
    assert!(again.contains("--force"), "{again}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// Headers of all models that GGUF describes, over files without data: each means its model.
#[test]
fn every_model_of_the_catalogue_is_described_or_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (mut described_as, mut refused, mut wrong) = (BTreeMap::new(), Vec::new(), Vec::new());
    for row in catalogue::rows() {
        let spec = row.spec();
        let path = folder.path().join(format!("{}.gguf", row.id));
        let options = ExportOptions { id: &row.id, ..options(&spec, WeightFormat::Q4_0, &path) };
        let described = match architecture::describe(&spec) {
            Ok(described) => described,
            Err(what) => {
                refused.push(format!("{} ({what})", row.id));
                continue;
            }
        };
        let header = header(&options, &described, &arrange(&described, options.format));
        let bytes = header.file_bytes();
        let file = File::create_new(&path).unwrap();
        drop(begin(header, &described, &file).unwrap());
        file.set_len(bytes).unwrap();
        if let Err(error) = check(&options, &described, &path) {
            let file = MappedFile::open(&path).unwrap();
            let file = GgufFile::open(Arc::new(file)).unwrap();
            let parsed = file.gguf();
            let found = reader::read(&parsed).map(|read| DecoderSpec { layers: Vec::new(), ..read.spec });
            let wanted = DecoderSpec { layers: Vec::new(), ..described.spec };
            wrong.push(format!("{}: {error}\n  {wanted:?}\n  {found:?}", row.id));
        }
        *described_as.entry(described.architecture).or_insert(0) += 1;
        std::fs::remove_file(&path).unwrap();
    }
    println!("described: {described_as:?}\nnot described: {refused:#?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(described_as.len() >= 18 && refused.len() <= 20, "{described_as:?} {refused:?}");
}
