//! The grids of IQ1 to IQ3: sets of points in four or eight dimensions, of which a code is the number.
//! They are facts of the formats (ggml-common.h of llama.cpp).
//!
//! A point has a digit for each weight: a ternary one for eight weights, or one of eight for four. Read as
//! numbers, the first digit being the lowest, the points of each grid ascend from 0. Here are the gaps
//! between them, one character each: the character `#` and as many behind it, `!` for 90 without a point.
//! That is a third of the digits' own length, and what [`eight`] and [`four`] read is made of it when
//! this is compiled: 9 KiB for all.

use super::Unpacked;

/// The points of a grid of ternary digits, two bits each.
const fn ternary<const N: usize>(gaps: &[&str]) -> [u16; N] {
    points(gaps, 3, 2)
}

/// The points of a grid of digits below eight, four bits each.
const fn octal<const N: usize>(gaps: &[&str]) -> [u16; N] {
    points(gaps, 8, 4)
}

const fn points<const N: usize>(gaps: &[&str], base: u32, bits: u32) -> [u16; N] {
    let mut points = [0; N];
    let (mut point, mut number, mut line) = (0, 0, 0);
    while line < gaps.len() {
        let gaps = gaps[line].as_bytes();
        let mut i = 0;
        while i < gaps.len() {
            match gaps[i] {
                b'!' => number += 90,
                gap => {
                    number += (gap - b'#') as u32;
                    point += 1;
                    points[point] = digits(number, base, bits);
                }
            }
            i += 1;
        }
        line += 1;
    }
    assert!(point + 1 == N);
    points
}

/// The digits of a number, `bits` for each.
const fn digits(mut number: u32, base: u32, bits: u32) -> u16 {
    let (mut digits, mut shift) = (0, 0);
    while number > 0 {
        digits |= ((number % base) << shift) as u16;
        number /= base;
        shift += bits;
    }
    digits
}

/// A number for each of eight weights, the first one in the lowest byte. Sums of them have no carry.
pub(super) type Eight = u64;

/// The same number for all.
pub(super) const ONES: Eight = 0x0101_0101_0101_0101;

/// The codes of a block, `codes(i)` being those of weights `8i` to `8i + 7`. First the numbers of points are
/// looked up, into arrays, and then this loop has none but arithmetic, of which compilers make vectors.
#[inline(always)]
pub(super) fn write(out: &mut Unpacked, codes: impl Fn(usize) -> Eight) {
    for (i, to) in out.codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *to = codes(i).to_le_bytes();
    }
}

/// The ternary digits of a point.
#[inline(always)]
pub(super) fn eight(point: u64) -> Eight {
    let x = (point | point << 24) & 0x0000_00ff_0000_00ff;
    let x = (x | x << 12) & 0x000f_000f_000f_000f;
    (x | x << 6) & 0x0303_0303_0303_0303
}

/// The digits of two points of four, the second one 32 bits above the first.
#[inline(always)]
pub(super) fn four(points: u64) -> Eight {
    let x = (points | points << 8) & 0x00ff_00ff_00ff_00ff;
    (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f
}

/// The levels of IQ2: 8, 25, 43.
#[inline(always)]
pub(super) fn two_bit_levels(digits: Eight) -> Eight {
    8 * ONES + digits + (digits << 4) + (digits >> 1 & ONES)
}

/// The sign bits of eight weights of which seven bits are stored, the lowest: an even number is set.
#[inline(always)]
pub(super) fn even_signs(seven: u64) -> u64 {
    let seven = seven & 127;
    let odd = seven ^ seven >> 4;
    let odd = odd ^ odd >> 2;
    seven | ((odd ^ odd >> 1) & 1) << 7
}

/// The codes of eight levels below 128 with their signs, 128 above: bit `i` of `signs` is that of weight `i`.
#[inline(always)]
pub(super) fn signed(levels: Eight, signs: u64) -> Eight {
    // A bit for each byte.
    let x = (signs | signs << 28) & 0x0000_000f_0000_000f;
    let x = (x | x << 14) & 0x0003_0003_0003_0003;
    let bits = (x | x << 7) & ONES;
    let negative = (bits << 7) - bits;
    // 127 less the level, and less 127.
    (levels ^ negative) + 128 * ONES - negative
}

/// The codes of eight weights of IQ1, 128 above eight times the weights: a digit less one, and an eighth
/// more, or less if `is_less` is 1.
#[inline(always)]
pub(super) fn thirds(point: u64, is_less: u64) -> Eight {
    let less = is_less << 1;
    let less = less | less << 32;
    let less = less | less << 16;
    (eight(point) << 3) + 121 * ONES - (less | less << 8)
}

/// Of IQ2_XXS.
pub(super) static IQ2_XXS: [u16; 256] = ternary(&[
    r"%%%%%%)%'%%%))'%)%)/+%)'1A//%5G=%)-%)%'/-%)/)%'/17%-;%5A5)'%)/'%)%9;;[-i%)-+5/)'1)/5+-S-U)",
    r"/'/7MCE1g%)5?='gQO%)93+%U+S%s%)51K?7!);/S!GW%))'%))+'-%)55?+';+;+-A)/G39-_u%)5'UM'-[C5)')%",
    r"G);=Qis%;mIM-)C__q)5;AK[AG'y%Q!O!!E%)7??//ck%)'15GCE975Iu{m)/)Q9K]U7-{!}O![E9Am!)!!wS",
]);

/// Of IQ2_XS.
pub(super) static IQ2_XS: [u16; 512] = ternary(&[
    r"%%%%%%%%%%%%'%%%%%%%'%)%%%'%'%-%%%%%%%%%%)%%%'%))'%)5%%%'%)-%)'1+7%%%%%%%'%)%%%'%%'-%)5%%%",
    r"'%)-%)-+?%)1'%?;%%%%%%)')%))/5+%%)5?)75)O'-%%%%%%%'%)%%%'%)+%%)5%%%'%)-%)5/%1%%'55G%%%'%)-",
    r"%'%/)?%)5Y/9S%)%3/79'QgM%%%%%%%)-%)55-%)5)3C7E;'%)3%Y?-C/3_')%-971]/;/I'%7%%%%%%%'%)%%%%%%",
    r")')%)5%%%'%)-%)5'3+%)%1%Y%%%'%'%-%)5/3%)/)O-+9)Q%)5'++E-7)3Cq%%%'%))'%)5?%)'1%WAU%%)-+5-5+",
    r")S)KC9+/3+E?-%!7;%)5/+/7%!/1A31o5'O{WUcE+E%%%'%)+%%)5%9%%%%'5-)I5G%3)'%)%%1537AQ7I?)39-%9+",
    r"!)E)+-'%)513;7?m77'=))cI%O}KI_CG%'%-+QQ)E'%'7?5GK!Y77-%'S))Y%Q%I3",
]);

/// Of IQ2_S.
pub(super) static IQ2_S: [u16; 1024] = ternary(&[
    r"%%%%%%%%%%%%'%%%%%%%'%%%%%%%'%)''%%%%%%%%'%)%%%'%%%%'%'%)%%)%)%%%'%)+%%%%%'1'''++%%%%%%%'%",
    r"%%%%%%%%%%%%%%)%%%%'%'%)%%%%%%%%%'%'%%%%%%%'%)%%%'%)-%%%%'1'%'%)-%)5%%%'%%%%''%%%%%%%%'%)'",
    r"+1%%)%%%'+'%'%)-+5-%+'%-E/%%%%%%%'%%'%%%'%%%%%%%'%%''%'%)%%%%%%%%%%%%'%%%%%%%'%)%%%'%3%'%'",
    r")%)')%3%)5%%%'%%%%'%'%%%%%%%'%)%%%'%)-%%%%%%%'%)%%%'%)-%)5'%'%)-%)5=%%%%%'%'+%%%'%)-%;%%%'",
    r"%)-%)39-)51K%%%'%%%%''%%)%%+)+'1%%)%%)+%%)%)-%)5+/'%');%3'%%%%'%'%)%%%'%)-%)5'%'%)-%)1'?%)",
    r"53I')%3%)=5%%)]9/?/%7%%%%%%%%%%%'%%%%%%%%%%%)%)'%'%)%%%'%%%%%%)%%%%%%%'%)%%%'%)-%)%%%))'%'",
    r"%)-%;%%%%%%%%%%%%'%%%%%%%'%)%%%'%)-%%%%%%%'%)%%%'%)+%%)5%%%'%)-%)59)%'%%%%'%)%%%'%)/)5%%%'",
    r"%)-%)511%)5Y%%%'%%%%%%%'%%%%%%%'%)%%%'%3%%%%%%%'%)%%%'%)-%)5'%'%)-%)3%?%%%%%%%'%)%%%'%)-%)",
    r"5%%%'%)-%)5?%)1'Y%%%'%)-%)+-?%)5Y3M7'%%'%%%'%)'%'%)/)5%%%'%)-%)531)51C+'%'%)-%)5?%)5+313e3",
    r"%)K7/=wO+%%%'%'%')%)%%%'+')%3%'%%%%'%)%%%'%3%)3%''%%3%)Q%%%%%%%'+%%%'%)-%)5%%%'%)-%)5+7%)3",
    r"%Y')%3%)I+%;9W9%/5+%'%%%%))%%%'%)-%)5')%3%)+I%)5U'%%%'%)-%)511%)5M'+C3E%)1'W%E'!35'''+)%%)",
    r"I)?9E)/'%A'%3'%)5E1)3!/W3UQ7?%-%'G7",
]);

/// Of IQ3_XXS.
pub(super) static IQ3_XXS: [u16; 256] = octal(&[
    r"%%(%'$%*,<%'%(%*'&%*./+%%(*%*%'-)1')$%.F67(./%')63V:7'%813%(%*%(%%.$;%**%R%(%**E)%1,03.'FK",
    r"'56/p1C%*%(%'&,B%%&%**>'$+%*)$%0$07*'O'D1;7->h%.:?*%*%80()%1,.%>%(08325`26))/>B58K87.1%/'p",
    r"72$3)4ABH.D18p&%1U::+)3:B1C+L@.'F+:rO1U3%1@CAHG)iDHTK1U%%$53O-M>(9018D3B%5g",
]);

/// Of IQ3_S.
pub(super) static IQ3_S: [u16; 512] = octal(&[
    r"$$&%$$$%%%$')(%&%%%(%*&&$$$%'$'&&'%'*0'()$'%$&&&'&')&%%%0&+)'&%*%&)'%0%'&.'%&))&)2-%/%'()'",
    r"%2(.&%142*%%/%'(0'7$$%'$%%%$%*&%1%&,)$%&%'(*&)*%1)%-&%$'))&-&-*&&$&))$'(4).%(%0%*'%'8*&)*%",
    r"2J'&0%>%(%*/'4)+$%%%$%%%&%'$%*%%&%0$&%&%)&'&&'&)*;&&-%(*%-'-&'%&',%(%*)1.),&*&'<&*(,0$.0+%",
    r"(-?'7'0%.(=*%%%&*%%(%&%-)+%%*(%03-'%-)-%/<*'(%'$,%')1+)('*4)'0*%.(--066C%0%.F'))'&&**3-(%%",
    r"*)())'7%(('-(2&)/(%(%*'F%5.$</%-D<47;(..)<)')1'&&/)(%%(*,C),-()0:($20(/))&/-/G/6%ZC%1Z%%/%",
    r"833*@95).()+/(2X121&<78>L%X'&,%/%/)3*.2%?&')&*4<;&19')(;M3C:J",
]);

/// Of IQ1_S and IQ1_M.
pub(super) static IQ1_S: [u16; 2048] = ternary(&[
    r"%%%%%&(%'%()%%+(%'%((%'%'$)%%%$()'%'%'%%%$*)%%+(%'%((%'%())('%%'%%&&%%'%.%%+)))''$2)))%$$+",
    r"%%+%''$$%$$%%%%%%%,&%%%%$$%1'/%)%%%&$'%))%'.%'%((%'%()'+(%'%((%'%()%'($)+$&)%'/%%%)(%'%((%",
    r"'%())&&(%%%%((%'%-$%'($)%)'%'%$&/%%(&)%%%%%%%'%')'$$$$$$%%'++%)%3%%+((%'%%%'%+)%%+)'%($%$&",
    r"'(&$$%%%$$%'%%)'%&$%$$%%$&'%'%%$$%%%%%%%%$$($$$$%$%%$$%%%$$%%$$%$$%$$%%)%$$+$$%%''%$$%%%&$",
    r"$$&%$%$$)&&%+'/'+)%%%%'%%$$%%%))%-1%%'%&*$$%'%$$%$$''+&$%%''%,**%*%%%%%%''%))'&-%'%((%%%%(",
    r"))&&(%'%((%%%%()%')*$')%%%%$$+((%))(%%&(%'%()'%))(%%&(%'%(+%%)+$$%'%%%)+)%'&&/)))%'%'%$&'%",
    r"%-%&$%%%%%%)(%())))($)(%'+-%'%((%'%()%-(%'%-%'%+&%')-%'%)%%%)((%($(%'%-%'%()'%)(%'%((%'%()",
    r"'+/'%%%%%%3'&''$%%%'%$$%%'%)%%%%$$%$(%%%%%'%%($$.)%%+)-%''',(-)/&,)%%%%$$($%%%%'%%%%($)&$%",
    r"'%%$$%%''%%$$%%$%$$$$&%$$%'$$%'%$$%$(%%%&&($%%%%'%%%%&$$%$%'%%'&''$)%%+)&'(*(%'%'%%%))%%%)",
    r")&$&$&$%'%%'''%$$$$%%%%$&)%'%$$'%%%33%%)%%''1-)%$$%'%'%%'%'%'%$$%)%+%)%&$'%)%$$%%$$$$%'$$%",
    r"%%$$%%$$$$$$$$%%$$%'%)%$$%%''%')%'%%+%'%%$$%'%,(%%&$',$)%$$$$&&%%%%$$%$$$%$$$$$%$$$$%%)%%%",
    r"$$%&%$'%$$$$%%$$$$$%$%%$$%%$$$$$$$%$$$$$$$$$$%$$$$$%%$&$$$%$$$$&%$$%%$$$%$$&%$%$%$$$$$$$&&",
    r"$$$$$$$$$$$$$%%$&'%$$$$%&'&%$$$($$%%'%'*(%%%%$$$$%%$$*(%%%%')&$%'%%$$%))%$$%%$$$$$$$$%%$$%",
    r"&&&&%$$$$)+&*'$'$%)%$&&$$$'%%%%*&%$$%%/+%%)+)'$$%%%%%&0+)%%%'%)$&%)&&&$%)$&'(&%)'%/'%.$'+$",
    r"$&0)'+2$%$&%'%%%%%%%%$$%$$%%+$&%%$$$$%%%')%%%&$%1$$%%$%$$%&%$$%*%$%&$%$&%$$(()(($$%'%%%%$$",
    r"$%$'%&%%''%$$%&%&2%))-%'%)))(+(%)')%%%%$&$$'%$$%%''&$(()%$&/'$0%'%'%%'$&**&%)'%'%-%'%(($%%",
    r"%)(%'%((%'%()%%%))%'%%%$$$(%%)&(%%)(%'%((%'%.%')(%'%((%'%0'/%*&'%%'1'/)'%')%%$&%'%$$%$($$%",
    r"%%%%%%%%+1'%))%'$$'&$%'&()*')%'%((%'%%&)%')&%%'%((%'%($(%%+)%%%%%%'%%--%)(%'%((%'%()%%0%'%",
    r"((%'%()'$$))'%)%%+$()%%%))%%%%'%%%%%%%'($%$$%'%+%)%%'%%%))%')+%%%%%%+%)+%.&%%''%+'+%%$$$$%",
    r"$$%+%)$$%')%'%%$$%$$%&&&$%%$$%%$$$$$$$$%%$$%&&%'$$$$%$$%%%%%%)'&%(%)%$&$%$%)%($'$&$$+%%)-%",
    r"))''%%$&'$,)'%)+%%%%%%%$$%%'%%%%%%$$%'%$&%%)%%'%'+,,+%%%'%'/)%$$0%'%((%'%()%%%.%'%((%'%(&&",
    r"%%%$2%&&%%%%-(%&%0'%$*''%()'%)(%'%((%'%4))%)&$%%%&$$$)?%%%%%+%'%)%$$%)'%%$$%'%%3)'&%&+%&&%",
    r"$$&%/''$%&%%'%'%-%'%.%%%.%'%((%'%(+'&&)+''%'%.(0%'%-%'%.%%0%'%((%'%",
]);
