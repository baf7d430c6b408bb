use super::*;

const PMUS: &str = "sys/bus/event_source/devices";

fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let root = Root::tree(dir.path()).unwrap();
    (dir, root)
}

fn found(root: &Root) -> Vec<(String, Vec<(Way, f64)>)> {
    let pmus = names(root);
    let of = |controller| find(root, controller, &pmus);
    let all = CONTROLLERS.iter().flat_map(of);
    all.map(|(pmu, counters)| (pmu.name, counters.iter().map(|c| (c.way, c.bytes)).collect())).collect()
}

#[test]
fn the_scale_is_read_and_not_assumed() {
    let described = |scale: f64, unit: &str| Described {
        event: super::super::Event::default(),
        scale: Some(scale),
        unit: Some(unit.to_owned()),
    };
    assert_eq!(bytes_per_count(&described(6.103_515_625e-5, "MiB")), Some(64.0));
    assert!((bytes_per_count(&described(9.536_743_164e-7, "MB")).unwrap() - 1.0).abs() < 1e-6);
    assert!((bytes_per_count(&described(6.4e-5, "MB")).unwrap() - 64.0).abs() < 1e-9);
    assert_eq!(bytes_per_count(&described(1.0, "furlongs")), None);
}

#[test]
fn each_kind_of_controller_is_found_with_its_events() {
    let event = |pmu: &str, event: &str| format!("{PMUS}/{pmu}/events/{event}");
    let ty = |pmu: &str| format!("{PMUS}/{pmu}/type");
    let format = |pmu: &str, term: &str| format!("{PMUS}/{pmu}/format/{term}");
    let files = [
        (ty("uncore_imc_free_running_0"), "30"),
        (event("uncore_imc_free_running_0", "data_read"), "event=0xff,umask=0x20"),
        (event("uncore_imc_free_running_0", "data_read.scale"), "6.103515625e-5"),
        (event("uncore_imc_free_running_0", "data_read.unit"), "MiB"),
        (event("uncore_imc_free_running_0", "data_total"), "event=0xff,umask=0x10"),
        (format("uncore_imc_free_running_0", "event"), "config:0-7"),
        (format("uncore_imc_free_running_0", "umask"), "config:8-15"),
        (ty("nvidia_scf_pmu_0"), "31"),
        (event("nvidia_scf_pmu_0", "cmem_rd_data"), "event=0x1a5"),
        (event("nvidia_scf_pmu_0", "cmem_wr_total_bytes"), "event=0x1a2"),
        (format("nvidia_scf_pmu_0", "event"), "config:0-63"),
        (ty("arm_cmn_0"), "32"),
        (event("arm_cmn_0", "hnf_mc_reqs"), "type=0x5,eventid=0xd"),
        (format("arm_cmn_0", "type"), "config:0-15"),
        (format("arm_cmn_0", "eventid"), "config:16-26"),
        (ty("imx8_ddr0"), "33"),
        (event("imx8_ddr0", "read-cycles"), "event=0x2a"),
        (format("imx8_ddr0", "event"), "config:0-7"),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let (_dir, root) = tree(&files);
    let found = found(&root);
    assert_eq!(
        found,
        [
            ("uncore_imc_free_running_0".to_owned(), vec![(Way::Read, 64.0)]),
            ("nvidia_scf_pmu_0".to_owned(), vec![(Way::Read, 32.0), (Way::Write, 1.0)]),
            ("arm_cmn_0".to_owned(), vec![(Way::Both, 64.0)]),
        ],
        "beats of unknown width are not counted"
    );
    let mut catalogue = Catalogue::default();
    let refused = discover(&root, &mut catalogue).err().unwrap();
    assert_eq!(refused.1.code, ReasonCode::NoSuchInterface);
    assert!(refused.1.detail.contains("uncore_imc_free_running_0"));
    assert!(catalogue.finish().is_empty());
}

#[test]
fn the_scale_depends_on_the_model_where_the_kernel_gives_one() {
    let board = |model: &str| {
        let file = |path: &str, text: &str| (format!("{PMUS}/imx8_ddr0/{path}"), text.to_owned());
        let files = [
            file("type", "33"),
            file("identifier", model),
            file("format/event", "config:0-7"),
            file("format/axi_mask", "config1:0-15"),
            file("format/axi_id", "config1:16-31"),
            file("events/read-cycles", "event=0x2a"),
            file("events/write-cycles", "event=0x2b"),
            file("events/axid-read", "event=0x41"),
        ];
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let (_dir, root) = tree(&files);
        let counters = found(&root);
        let refused = discover(&root, &mut Catalogue::default()).err().unwrap().1;
        (counters.into_iter().next().map(|(_, ways)| ways), refused.code)
    };
    let no_counter_in_a_tree = ReasonCode::NoSuchInterface;
    let cycles = |bytes| (Some(vec![(Way::Read, bytes), (Way::Write, bytes)]), no_counter_in_a_tree);
    assert_eq!(board("i.MX8MN\n"), cycles(8.0));
    assert_eq!(board("i.mx8mm"), cycles(16.0));
    assert_eq!(board("i.MX8MP"), (Some(vec![(Way::Read, 1.0)]), no_counter_in_a_tree));
    assert_eq!(board("i.MX8QM"), (None, ReasonCode::NotSupported));
}

#[test]
fn filters_stand_behind_the_name_of_an_event() {
    let file = |path: &str, text: &str| (format!("{PMUS}/{path}"), text.to_owned());
    let files = [
        file("arm_dmc620_10008c000/type", "40"),
        file("arm_dmc620_10008c000/format/mask", "config:0-44"),
        file("arm_dmc620_10008c000/format/match", "config1:0-44"),
        file("arm_dmc620_10008c000/format/event", "config2:3-8"),
        file("arm_dmc620_10008c000/format/clkdiv2", "config2:9"),
        file("arm_dmc620_10008c000/events/clkdiv2_rdwr", "event=0x12,clkdiv2=0x1"),
        file("hisi_sccl1_ddrc0/type", "41"),
        file("hisi_sccl1_ddrc0/format/event", "config:0-4"),
        file("hisi_sccl1_ddrc0/events/flux_rd", "config=0x1"),
        file("hisi_sccl1_ddrc0/events/flux_wr", "config=0x0"),
        file("hisi_sccl1_l3c0/type", "42"),
        file("hisi_sccl1_l3c0/events/rd_hit_cpipe", "config=0x29"),
        file("nvidia_ucf_pmu_0/type", "43"),
        file("nvidia_ucf_pmu_0/format/event", "config:0-8"),
        file("nvidia_ucf_pmu_0/events/mem_bytes_rd", "event=0x123"),
        file("nvidia_ucf_pmu_0/events/mem_bytes_wr", "event=0x124"),
    ];
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let (_dir, root) = tree(&files);
    let both = |bytes| vec![(Way::Read, bytes), (Way::Write, bytes)];
    assert_eq!(
        found(&root),
        [
            ("nvidia_ucf_pmu_0".to_owned(), both(1.0)),
            ("arm_dmc620_10008c000".to_owned(), both(64.0)),
            ("hisi_sccl1_ddrc0".to_owned(), both(32.0)),
        ]
    );
    let pmu = Pmu::find(&root, "arm_dmc620_10008c000").unwrap();
    let write = pmu.event(&root, "clkdiv2_rdwr,mask=0x1,match=0x1").unwrap().event;
    assert_eq!((write.config, write.config1, write.config2), (1, 1, 0x12 << 3 | 1 << 9));
}

#[test]
fn bare_event_numbers_hold_for_their_processors_only() {
    let umc = [
        ("sys/bus/event_source/devices/amd_umc_0/type", "12"),
        ("sys/bus/event_source/devices/amd_umc_0/cpumask", "0"),
        ("sys/bus/event_source/devices/amd_umc_0/format/event", "config:0-7"),
        ("sys/bus/event_source/devices/amd_umc_0/format/rdwrmask", "config:8-9"),
    ];
    let df = [
        ("sys/bus/event_source/devices/amd_df/type", "13"),
        ("sys/bus/event_source/devices/amd_df/cpumask", "0"),
        ("sys/bus/event_source/devices/amd_df/format/event", "config:0-7,32-35"),
        ("sys/bus/event_source/devices/amd_df/format/umask", "config:8-15"),
    ];
    let of = |family: u32, model: u32| {
        let amd = format!(
            "vendor_id\t: AuthenticAMD\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: 9\n"
        );
        let (_dir, root) = tree(&[&umc[..], &df, &[("proc/cpuinfo", &amd)]].concat());
        found(&root).into_iter().map(|(name, ways)| (name, ways.len())).collect::<Vec<_>>()
    };
    let (umc_pmu, df_pmu) = ([("amd_umc_0".to_owned(), 2)], [("amd_df".to_owned(), 8)]);
    // Rome, Milan, Vermeer, Cezanne; Genoa, Raphael, Bergamo, Turin, whose data fabric has other numbers.
    for (family, model) in [(23, 0x31), (25, 0x01), (25, 0x21), (25, 0x50)] {
        assert_eq!(of(family, model), df_pmu, "{family} {model:#x}");
    }
    for (family, model) in [(25, 0x11), (25, 0x61), (25, 0xa0), (26, 0x02)] {
        assert_eq!(of(family, model), umc_pmu, "{family} {model:#x}");
    }
    assert!(of(99, 1).is_empty());
}
