//! Sessions for at most so many bytes.

use mote_formats::Gguf;
use mote_kernels::CacheType;
use mote_runtime::{Budget, BudgetError, Model, Options, Plan, Session};
use mote_tests::models::fixture;

fn with_model<R>(work: impl FnOnce(&Model<'_>) -> R) -> R {
    let file = fixture("models/llama-f32.gguf");
    let gguf = Gguf::parse(&file).unwrap();
    let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
    work(&Model::new(&gguf, &mut tables).unwrap())
}

fn wanted() -> Options {
    Options { n_ctx: 2000, batch: 512, cache: CacheType::F32, ..Options::default() }
}

#[test]
fn what_fits_is_left_as_it_is() {
    with_model(|model| {
        let plan = Session::plan(model, &wanted()).unwrap();
        let budget = Budget { bytes: plan.total_bytes, least_ctx: 1, may_narrow: true };
        assert_eq!(Plan::within(model.config(), &wanted(), &budget, |_| 0), Ok((wanted(), plan)));
    });
}

/// Every budget gets a plan that fits, and the longest context that does.
#[test]
fn the_longest_context_that_fits() {
    with_model(|model| {
        let config = model.config();
        let full = Session::plan(model, &wanted()).unwrap().total_bytes;
        let mut contexts = Vec::new();
        for bytes in (1..=40).map(|i| full * i / 40) {
            let budget = Budget { bytes, least_ctx: 16, may_narrow: true };
            let Ok((options, plan)) = Plan::within(config, &wanted(), &budget, |_| 0) else {
                continue;
            };
            assert!(plan.total_bytes <= bytes);
            assert_eq!(Plan::new(config, &options), Ok(plan));
            assert!((16..=2000).contains(&options.n_ctx));
            if options.n_ctx < 2000 {
                assert_eq!(options.cache, CacheType::F16);
                let longer = Options { n_ctx: options.n_ctx + 1, ..options };
                assert!(Plan::new(config, &longer).unwrap().total_bytes > bytes);
            }
            contexts.push(options.n_ctx);
        }
        assert!(contexts.len() > 30 && contexts.is_sorted(), "{contexts:?}");
        assert!(contexts[0] < 200);
        let budget = Budget { bytes: full / 2, least_ctx: 1, may_narrow: false };
        let (options, _) = Plan::within(config, &wanted(), &budget, |_| 0).unwrap();
        assert!(options.cache == CacheType::F32 && options.n_ctx < 2000);
    });
}

/// Where the heads fit it, codes of 8 bits come before a shorter context.
#[test]
fn narrower_caches_come_before_shorter_contexts() {
    let file = fixture("models/qwen3.gguf");
    let gguf = Gguf::parse(&file).unwrap();
    let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
    let model = Model::new(&gguf, &mut tables).unwrap();
    let small = |cache| Options { batch: 32, cache, ..wanted() };
    let bytes = |cache| Session::plan(&model, &small(cache)).unwrap().total_bytes;
    let within = |bytes, may_narrow| {
        let budget = Budget { bytes, least_ctx: 1, may_narrow };
        Plan::within(model.config(), &wanted(), &budget, |_| 0).unwrap().0
    };
    for cache in [CacheType::F32, CacheType::F16, CacheType::Q8_0] {
        let options = within(bytes(cache), true);
        assert_eq!((options.cache, options.n_ctx), (cache, 2000));
        let shorter = within(bytes(cache), false);
        assert_eq!(
            (shorter.cache, shorter.n_ctx == 2000),
            (CacheType::F32, cache == CacheType::F32)
        );
    }
    let options = within(bytes(CacheType::Q8_0) - 64, true);
    assert!(options.cache == CacheType::Q8_0 && (1900..2000).contains(&options.n_ctx));
}

#[test]
fn too_little_is_an_error_with_the_numbers() {
    with_model(|model| {
        let config = model.config();
        let budget = Budget { bytes: 10_000, least_ctx: 100, may_narrow: true };
        let error = Plan::within(config, &wanted(), &budget, |_| 0).unwrap_err();
        let BudgetError::TooSmall { needed, n_ctx, .. } = error else { panic!("{error}") };
        assert_eq!(n_ctx, 100);
        let sentence =
            format!("a context of 100 tokens needs {needed} bytes of memory, the budget is 10000");
        assert_eq!(error.to_string(), sentence);
        // Keys are stored in tiles of 16 positions.
        let exact = Budget { bytes: needed, ..budget };
        assert!(
            (100..=112).contains(&Plan::within(config, &wanted(), &exact, |_| 0).unwrap().0.n_ctx)
        );
        let invalid = Options { batch: 0, ..wanted() };
        let error = Plan::within(config, &invalid, &budget, |_| 0).unwrap_err();
        assert!(matches!(error, BudgetError::Options(_)));
    });
}
