"""What the XML of SAFE products says, and what it is not allowed to say."""

import pytest

from decametre.errors import NotAProductError, RadiometryError
from decametre.sentinel2 import safe_metadata
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.safe_metadata import (
    find_tile,
    parse_granule_metadata,
    parse_product_metadata,
)

GRANULE = "S2B_OPER_MSI_L2A_TL_MPS__20180818T120345_A007562_T34VFJ_N02.08"


def product_xml(
    level="1C",
    *,
    info="",
    characteristics="<QUANTIFICATION_VALUE>10000</QUANTIFICATION_VALUE>",
    images="<IMAGE_FILE>GRANULE/G/IMG_DATA/T34VFJ_20180818T094031_B02</IMAGE_FILE>",
    granule="Granule",
    quality="",
    head="",
    namespace="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product.xsd",
):
    text = f"""<?xml version="1.0" encoding="UTF-8"?>{head}
    <n1:Level-{level}_User_Product xmlns:n1="{namespace}"><n1:General_Info>
      <Product_Info>{info}<Granule_List>
        <{granule} granuleIdentifier="{GRANULE}">{images}</{granule}>
      </Granule_List></Product_Info>
      <Product_Image_Characteristics>{characteristics}</Product_Image_Characteristics>
    </n1:General_Info><n1:Quality_Indicators_Info>{quality}</n1:Quality_Indicators_Info>
    </n1:Level-{level}_User_Product>"""
    return text.encode()


def parse(*args, **kwargs):
    return parse_product_metadata(product_xml(*args, **kwargs), "MTD.xml in X.SAFE")


def refused(error, xml, parser=parse_product_metadata):
    """The message, which must be one line that says where."""
    with pytest.raises(error) as caught:
        parser(xml, "MTD.xml in X.SAFE")
    message = str(caught.value)
    assert message.startswith("MTD.xml in X.SAFE: ")
    assert "\n" not in message
    return message


INFO = """
<PRODUCT_START_TIME>2018-08-18T09:40:31.024Z</PRODUCT_START_TIME>
<PRODUCT_URI>S2B_MSIL1C_20180818T094031_N0206_R036_T34VFJ_20180818T120345.SAFE</PRODUCT_URI>
<PROCESSING_BASELINE>02.06</PROCESSING_BASELINE>
<Datatake>
  <SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME>
  <SENSING_ORBIT_NUMBER>36</SENSING_ORBIT_NUMBER>
  <SENSING_ORBIT_DIRECTION>DESCENDING</SENSING_ORBIT_DIRECTION>
</Datatake>"""


def test_everything_that_a_product_says():
    metadata = parse(
        info=INFO, quality="<Cloud_Coverage_Assessment>3.25</Cloud_Coverage_Assessment>"
    )
    assert metadata.level == "L1C"
    assert metadata.name == "S2B_MSIL1C_20180818T094031_N0206_R036_T34VFJ_20180818T120345"
    assert metadata.baseline == "02.06"
    assert metadata.platform == "sentinel-2b"
    assert metadata.datetime == "2018-08-18T09:40:31.024Z"
    assert metadata.quantification == 10000
    assert metadata.properties == {
        "eo:cloud_cover": 3.25,
        "sat:relative_orbit": 36,
        "sat:orbit_state": "descending",
    }
    (granule,) = metadata.granules
    assert granule.id == GRANULE
    assert granule.tile == "34VFJ"
    assert granule.folder == "GRANULE/G"


def test_what_is_absent_is_none_or_empty():
    metadata = parse()
    assert metadata.name is metadata.baseline is metadata.platform is metadata.datetime is None
    assert metadata.properties == metadata.offsets == {}
    assert (metadata.nodata, metadata.saturated) == (0, 65535)


@pytest.mark.parametrize("uri", ["Not applicable", "../../S2A_evil.SAFE", "S2A_/etc.SAFE", ""])
def test_a_product_uri_that_is_no_name_is_not_used(uri):
    assert parse(info=f"<PRODUCT_URI>{uri}</PRODUCT_URI>").name is None


def test_a_time_that_is_no_time_is_not_used():
    assert parse(info="<PRODUCT_START_TIME>yesterday</PRODUCT_START_TIME>").datetime is None


@pytest.mark.parametrize("platform", ["A", "B", "C"])
def test_platforms(platform):
    metadata = parse(info=f"<SPACECRAFT_NAME>Sentinel-2{platform}</SPACECRAFT_NAME>")
    assert metadata.platform == f"sentinel-2{platform.lower()}"


@pytest.mark.parametrize("namespace", ["https://psd-12.sentinel2.eo.esa.int/x", "urn:x", ""])
def test_any_namespace(namespace):
    xml = product_xml(namespace=namespace or "x", info=INFO)
    if not namespace:
        xml = xml.replace(b"n1:", b"").replace(b'xmlns:n1="x"', b"")
        assert b"xmlns" not in xml
    assert parse_product_metadata(xml, "x").baseline == "02.06"


@pytest.mark.parametrize(
    ("level", "tag"),
    [
        ("1C", "QUANTIFICATION_VALUE"),
        ("2A", "BOA_QUANTIFICATION_VALUE"),
        ("2A", "L2A_BOA_QUANTIFICATION_VALUE"),
    ],
)
def test_quantification_by_level(level, tag):
    others = """<L1C_TOA_QUANTIFICATION_VALUE>1</L1C_TOA_QUANTIFICATION_VALUE>
        <L2A_AOT_QUANTIFICATION_VALUE>2</L2A_AOT_QUANTIFICATION_VALUE>"""
    metadata = parse(level, characteristics=f"{others}<{tag} unit='none'>5000</{tag}>")
    assert metadata.quantification == 5000


BY_NUMBER = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")


def test_offsets_by_band_id():
    """B8A is 8, B09 is 9, B11 is 11, B12 is 12; 10 is B10, which is none of ours."""
    elements = "".join(
        f'<RADIO_ADD_OFFSET band_id="{i}">{-1000 - i}</RADIO_ADD_OFFSET>' for i in range(13)
    )
    metadata = parse(characteristics=f"<QUANTIFICATION_VALUE>1e4</QUANTIFICATION_VALUE>{elements}")
    assert metadata.offset_tag == "RADIO_ADD_OFFSET"
    numbers = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12]
    assert metadata.offsets == {
        name: -1000 - number for name, number in zip(BY_NUMBER, numbers, strict=True)
    }
    assert set(metadata.offsets) == set(ALL_BANDS)


def test_each_level_has_its_own_offset_element():
    both = """<BOA_QUANTIFICATION_VALUE>10000</BOA_QUANTIFICATION_VALUE>
        <QUANTIFICATION_VALUE>10000</QUANTIFICATION_VALUE>
        <RADIO_ADD_OFFSET band_id="1">-1</RADIO_ADD_OFFSET>
        <BOA_ADD_OFFSET band_id="1">-2</BOA_ADD_OFFSET>"""
    assert parse("1C", characteristics=both).offsets == {"B02": -1}
    assert parse("2A", characteristics=both).offsets == {"B02": -2}


def test_special_values():
    special = "".join(
        f"<Special_Values><SPECIAL_VALUE_TEXT>{text}</SPECIAL_VALUE_TEXT>"
        f"<SPECIAL_VALUE_INDEX>{value}</SPECIAL_VALUE_INDEX></Special_Values>"
        for text, value in (("NODATA", 7), ("SATURATED", 32767))
    )
    metadata = parse(characteristics=f"{special}<QUANTIFICATION_VALUE>10000</QUANTIFICATION_VALUE>")
    assert (metadata.nodata, metadata.saturated) == (7, 32767)


def images_of(*texts, level="2A", tag="IMAGE_FILE", granule="Granule"):
    metadata = parse(
        level,
        characteristics="<QUANTIFICATION_VALUE>1</QUANTIFICATION_VALUE>"
        "<BOA_QUANTIFICATION_VALUE>1</BOA_QUANTIFICATION_VALUE>",
        images="".join(f"<{tag}>{text}</{tag}>" for text in texts),
        granule=granule,
    )
    return metadata.granules[0].images


def test_l2a_takes_each_band_at_its_native_resolution():
    folder = "GRANULE/L2A_T34VFJ_A007562_20180818T094026/IMG_DATA"
    names = [*ALL_BANDS, "TCI", "SCL", "AOT"]
    texts = [f"{folder}/R{gsd}m/T_{name}_{gsd}m" for gsd in (60, 20, 10) for name in names]
    assert images_of(*texts) == {
        name: f"{folder}/R{band.gsd}m/T_{name}_{band.gsd}m.jp2" for name, band in ALL_BANDS.items()
    }


def test_l1c_lists_thirteen_bands_of_which_b10_is_none_of_ours():
    names = [*ALL_BANDS, "B10", "TCI", "PVI"]
    texts = [f"GRANULE/L1C/IMG_DATA/T34VFJ_{name}" for name in names]
    assert images_of(*texts, level="1C") == {
        name: f"GRANULE/L1C/IMG_DATA/T34VFJ_{name}.jp2" for name in ALL_BANDS
    }


def test_a_listed_name_may_have_its_ending():
    assert images_of("GRANULE/G/T_B02.jp2", level="1C") == {"B02": "GRANULE/G/T_B02.jp2"}


def test_old_l1c_names_images_alone():
    images = images_of("S2A_X_T34VFJ_B8A", level="1C", tag="IMAGE_ID", granule="Granules")
    assert images == {"B8A": f"GRANULE/{GRANULE}/IMG_DATA/S2A_X_T34VFJ_B8A.jp2"}


def test_old_l2a_names_images_alone():
    images = images_of("S2A_X_B8A_20m", "S2A_X_B8A_60m", tag="IMAGE_ID_2A", granule="Granules")
    assert images == {"B8A": f"GRANULE/{GRANULE}/IMG_DATA/R20m/S2A_X_B8A_20m.jp2"}


def test_l2a_of_2017_lists_its_granule_once_for_each_resolution():
    lists = "".join(
        f'<Granule_List><Granules granuleIdentifier="{GRANULE}">'
        f"<IMAGE_FILE_2A>GRANULE/L2A_G/IMG_DATA/R{gsd}m/L2A_T_{band}_{gsd}m</IMAGE_FILE_2A>"
        "</Granules></Granule_List>"
        for gsd, band in ((10, "B02"), (20, "B05"), (60, "B01"))
    )
    xml = f"""<Level-2A_User_Product><L2A_Product_Info>
        <PRODUCT_URI_2A>S2A_MSIL2A_20170825T102021_T32TPS.SAFE</PRODUCT_URI_2A>{lists}
        </L2A_Product_Info><L2A_BOA_QUANTIFICATION_VALUE>10000</L2A_BOA_QUANTIFICATION_VALUE>
        </Level-2A_User_Product>"""
    metadata = parse_product_metadata(xml.encode(), "x")
    assert metadata.name == "S2A_MSIL2A_20170825T102021_T32TPS"
    (granule,) = metadata.granules
    assert granule.folder == "GRANULE/L2A_G"
    assert set(granule.images) == {"B01", "B02", "B05"}


BOMB = '<!DOCTYPE bomb [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "head",
    [
        BOMB,
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
    ],
)
def test_document_types_and_entities_are_refused(head):
    message = refused(NotAProductError, product_xml(head=head, info=INFO))
    assert "document type definition" in message
    tile = f"{head}<Level-1C_Tile_ID/>".encode()
    refused(NotAProductError, tile, parse_granule_metadata)


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "../../etc/shadow_B02",
        "/etc/passwd_B02",
        "GRANULE/../../../x_B02",
        "GRANULE/./x_B02",
        "GRANULE//x_B02",
        "GRANULE\\..\\x_B02",
        "C:/x_B02",
        "http://example.com/x_B02",
        "/vsicurl/http://example.com/x_B02",
        "GRANULE/x y_B02",
        "GRANULE/x}_B02",
        "",
    ],
)
@pytest.mark.parametrize("tag", ["IMAGE_FILE", "IMAGE_ID", "IMAGE_FILE_2A", "IMAGE_ID_2A"])
def test_paths_out_of_the_product_are_refused(path, tag):
    message = refused(NotAProductError, product_xml(images=f"<{tag}>{path}</{tag}>"))
    assert repr(path) in message


@pytest.mark.parametrize("name", ["../../etc", "/etc", ""])
def test_granules_out_of_the_product_are_refused(name):
    xml = product_xml().replace(GRANULE.encode(), name.encode())
    assert repr(name) in refused(NotAProductError, xml)


@pytest.mark.parametrize(
    "xml", [b"", b"no xml", product_xml()[:-30], b'<?xml version="1.0" encoding="klingon"?><a/>']
)
def test_malformed_xml(xml):
    assert "well-formed" in refused(NotAProductError, xml)
    assert "well-formed" in refused(NotAProductError, xml, parse_granule_metadata)


def test_other_xml_is_named():
    message = refused(NotAProductError, b"<n:Level-1B_User_Product xmlns:n='x'/>")
    assert "'Level-1B_User_Product'" in message
    assert "Level-1C_User_Product" in message


def test_numbers_that_are_none():
    def characteristics(value, rest=""):
        return product_xml(
            characteristics=f"<QUANTIFICATION_VALUE>{value}</QUANTIFICATION_VALUE>{rest}"
        )

    assert "'many'" in refused(NotAProductError, characteristics("many"))
    assert "nan" in refused(NotAProductError, characteristics("nan"))
    assert "0.0" in refused(RadiometryError, characteristics("0"))
    assert "-5" in refused(RadiometryError, characteristics("-5"))
    offset = '<RADIO_ADD_OFFSET band_id="1">lots</RADIO_ADD_OFFSET>'
    assert "'lots'" in refused(NotAProductError, characteristics(1e4, offset))
    offset = "<RADIO_ADD_OFFSET>-1000</RADIO_ADD_OFFSET>"
    assert "band_id" in refused(RadiometryError, characteristics(1e4, offset))
    special = "<Special_Values><SPECIAL_VALUE_INDEX>-9999</SPECIAL_VALUE_INDEX></Special_Values>"
    assert "-9999" in refused(RadiometryError, characteristics(1e4, special))
    for text in ("x", "nan", "inf"):
        xml = product_xml(info=f"<SENSING_ORBIT_NUMBER>{text}</SENSING_ORBIT_NUMBER>")
        assert text in refused(NotAProductError, xml)


def test_no_quantification_value():
    message = refused(NotAProductError, product_xml("2A"))
    assert "BOA_QUANTIFICATION_VALUE" in message


def angles(sun=(31.5, 152.25), views=(3, 5)):
    views = "".join(
        f"<Mean_Viewing_Incidence_Angle><ZENITH_ANGLE>{view}</ZENITH_ANGLE>"
        "<AZIMUTH_ANGLE>200</AZIMUTH_ANGLE></Mean_Viewing_Incidence_Angle>"
        for view in views
    )
    return f"""<x:Level-1C_Tile_ID xmlns:x="urn:x"><Tile_Angles>
        <Sun_Angles_Grid><ZENITH_ANGLE>80</ZENITH_ANGLE></Sun_Angles_Grid>
        <Mean_Sun_Angle><ZENITH_ANGLE>{sun[0]}</ZENITH_ANGLE>
        <AZIMUTH_ANGLE>{sun[1]}</AZIMUTH_ANGLE></Mean_Sun_Angle>{views}
        </Tile_Angles></x:Level-1C_Tile_ID>""".encode()


def test_angles():
    assert parse_granule_metadata(angles(), "x") == {
        "view:sun_azimuth": 152.25,
        "view:sun_elevation": 58.5,
        "view:incidence_angle": 4.0,
    }


def test_a_band_without_a_view_does_not_count():
    found = parse_granule_metadata(angles(views=(3, "NaN", 5)), "x")
    assert found["view:incidence_angle"] == 4.0


def test_angles_that_are_absent_or_no_numbers():
    assert parse_granule_metadata(b"<Level-1C_Tile_ID/>", "x") == {}
    refused(NotAProductError, angles(sun=("high", 10)), parse_granule_metadata)


@pytest.mark.parametrize(
    ("name", "tile"),
    [
        ("S2A_MSIL1C_20230817T105031_N0509_R051_T31TCJ_20230817T170411", "31TCJ"),
        ("S2A_OPER_MSI_L1C_TL_EPA__20160605T113933_A000734_T32VNK_N02.02", "32VNK"),
        ("L1C_T31TCJ", "31TCJ"),
        ("S2A_OPER_PRD_MSIL1C_PDMC_20160605T113933_R051", None),
    ],
)
def test_tile_in_a_name(name, tile):
    assert find_tile(name) == tile


def test_xml_that_is_too_deep_or_too_large(monkeypatch):
    deep = b"<a>" * 5000 + b"</a>" * 5000
    assert "more than 50 levels" in refused(NotAProductError, deep)
    monkeypatch.setattr(safe_metadata, "MAX_ELEMENTS", 100)
    assert "100 elements" in refused(NotAProductError, b"<a>" + b"<b/>" * 100 + b"</a>")
